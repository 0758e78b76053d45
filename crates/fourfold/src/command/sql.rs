//! `fourfold sql`: one text, a file, or a shell, through the HTTP door.

use anyhow::{Context as _, Result};
use model::Positions;
use serde_json::{Value, json};

use super::shell;
use crate::cli::SqlArguments;
use crate::door::Http;
use crate::output::{print, say};
use crate::table::{cell, count, shortened, table};

// How much of a definition `SHOW` shows in a table; --json has all of it.
const DEFINITION_CHARACTERS_MAX: usize = 60;

/// Runs statements one by one and prints their results.
pub(crate) struct Statements {
    http: Http,
    min_position: Option<Positions>,
    as_json: bool,
}

/// Runs the text, the file, or the shell.
pub(crate) async fn run(arguments: SqlArguments, as_json: bool) -> Result<()> {
    let statements = Statements { http: Http::new(&arguments.door), min_position: arguments.min_position, as_json };
    let text = match (arguments.command, arguments.file) {
        (Some(text), _) => text,
        (None, Some(file)) => {
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?
        }
        (None, None) => return shell::run(&statements).await,
    };
    for statement in sql::split(&text).map_err(model::Error::from)? {
        statements.execute(statement).await?;
    }
    Ok(())
}

impl Statements {
    /// Whether results and errors are for programs.
    pub(crate) fn as_json(&self) -> bool {
        self.as_json
    }

    /// Runs one statement and prints its result.
    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        let mut request = json!({ "sql": sql });
        if let Some(position) = &self.min_position {
            request["min_position"] = position.to_string().into();
        }
        let answer = self.http.post("/v1/sql", &request).await?;
        if self.as_json { print(answer.to_string()) } else { show(sql, &answer) }
    }
}

fn show(sql: &str, answer: &Value) -> Result<()> {
    if answer.get("columns").is_none() {
        say(answer.get("tag").and_then(Value::as_str).unwrap_or("done"));
    } else {
        let shows = sql.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("show"));
        let answer = if shows { &with_short_definitions(answer.clone()) } else { answer };
        print(rows(answer, &[]))?;
        say(format!("({})", count(list(answer, "rows").len(), "row")));
    }
    if let Some(positions) = answer.get("positions").and_then(Value::as_str).filter(|text| !text.is_empty()) {
        say(format!("position {positions}"));
    }
    for notice in list(answer, "notices") {
        say(format!("notice: {}", cell(notice)));
    }
    Ok(())
}

/// The rows of an answer as a table, without the columns named in `without`.
pub(crate) fn rows(answer: &Value, without: &[&str]) -> String {
    let columns = column_names(answer);
    let keeps = |i: usize| columns.get(i).is_some_and(|name| !without.contains(&name.as_str()));
    let kept = |row: &Value| {
        let cells = row.as_array().into_iter().flatten().map(cell).enumerate();
        cells.filter(|(i, _)| keeps(*i)).map(|(_, cell)| cell).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = list(answer, "rows").iter().map(kept).collect();
    let columns: Vec<String> = columns.iter().filter(|name| !without.contains(&name.as_str())).cloned().collect();
    table(&columns, &rows)
}

/// One column of an answer, as text.
pub(crate) fn column(answer: &Value, name: &str) -> Vec<String> {
    let Some(at) = column_names(answer).iter().position(|column| column == name) else { return Vec::new() };
    list(answer, "rows").iter().map(|row| cell(&row[at])).collect()
}

fn column_names(answer: &Value) -> Vec<String> {
    list(answer, "columns").iter().filter_map(|column| Some(column.get("name")?.as_str()?.to_owned())).collect()
}

fn with_short_definitions(mut answer: Value) -> Value {
    let at = column_names(&answer).iter().position(|column| column == "definition");
    let rows = answer.get_mut("rows").and_then(Value::as_array_mut);
    if let (Some(at), Some(rows)) = (at, rows) {
        for definition in rows.iter_mut().filter_map(|row| row.get_mut(at)) {
            *definition = shortened(&cell(definition), DEFINITION_CHARACTERS_MAX).into();
        }
    }
    answer
}

fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    //! Answers of the HTTP door, as tables.

    use serde_json::json;

    use super::{column, rows, with_short_definitions};

    #[test]
    fn a_definition_is_left_out_or_cut() {
        let answer = json!({
            "columns": [{ "name": "view" }, { "name": "definition" }, { "name": "lag" }],
            "rows": [["v", "CREATE MATERIALIZED VIEW v AS\nSELECT carrier, count(*) AS departures FROM flights", 0]],
        });
        assert_eq!(rows(&answer, &["definition"]), "view  lag\n----  ---\nv     0");
        let cut = with_short_definitions(answer.clone());
        let expected = "CREATE MATERIALIZED VIEW v AS SELECT carrier, count(*) AS d…";
        assert_eq!(column(&cut, "definition"), [expected]);
        assert_eq!(column(&answer, "lag"), ["0"]);
    }
}
