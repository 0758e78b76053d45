//! The deployment as the doors see it: carries out statements and answers `SHOW`.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    error::ArrowError,
};
use async_trait::async_trait;
use model::{Access, Error, ErrorKind, Positions, Principal, Resource, Result, principal::authorise};
use serving::sql::{Defined, Definitions, Replayed, WriteClaim};
use serving::views::Snapshot;
use sql::{Replay, Show, SourceDefinition, SqlError, Statement, sql_error, sqlstate};
use streaming::{PlannedView, RowRecord};

use crate::{
    deployment::{Deployment, Kept},
    running_view::RunningView,
    source_list,
};

#[async_trait]
impl Definitions for Deployment {
    // In a task of its own: a client that goes away, or runs into its timeout, does not leave a definition half done.
    async fn define(&self, principal: &Principal, statement: Statement) -> Result<Defined, SqlError> {
        let Some(deployment) = self.this() else {
            return Err(sql_error(&Error::unavailable("the server is stopping")));
        };
        let principal = principal.clone();
        let defining = tokio::spawn(async move { deployment.carry_out(&principal, statement).await });
        defining
            .await
            .unwrap_or_else(|e| Err(sql_error(&Error::internal("a definition ended abnormally").with_source(e))))
    }

    // In a task of its own, as a definition.
    async fn replay(&self, principal: &Principal, replay: Replay) -> Result<Replayed, SqlError> {
        let Some(deployment) = self.this() else {
            return Err(sql_error(&Error::unavailable("the server is stopping")));
        };
        authorise(principal, Access::Alter, Resource::View(&replay.view)).map_err(|error| sql_error(&error))?;
        if replay.compare.is_some() {
            authorise(principal, Access::Read, Resource::View(&replay.view)).map_err(|error| sql_error(&error))?;
        }
        let replaying = tokio::spawn(async move { deployment.replay_view(&replay).await });
        let replayed =
            replaying.await.unwrap_or_else(|e| Err(Error::internal("a replay ended abnormally").with_source(e)));
        replayed.map_err(|error| sql_error(&error))
    }

    async fn explain(&self, principal: &Principal, statement: Statement) -> Result<Vec<String>, SqlError> {
        // The plan's own error has the place in the text; ours has not.
        if let Statement::CreateView(definition) = &statement {
            self.check(definition)?;
        }
        self.describe(principal, statement).map_err(|error| sql_error(&error))
    }

    async fn show(&self, principal: &Principal, show: Show) -> Result<RecordBatch> {
        authorise(principal, Access::Describe, Resource::Server)?;
        let shown = match show {
            Show::Sources => return source_list::show(self).await,
            Show::Views => self.show_views(),
            Show::Topics => self.show_topics(),
        };
        shown.map_err(|e| Error::internal("cannot lay out a list").with_source(e))
    }

    fn sources(&self) -> Vec<SourceDefinition> {
        Deployment::sources(self)
    }

    async fn source_table(&self, name: &str) -> Result<Option<Snapshot>> {
        self.source_snapshot(name)
    }

    async fn claim(&self, principal: &Principal, name: &str) -> Result<WriteClaim> {
        self.claim_writing(principal, name).await
    }

    // In a task of its own: what is begun is written, whoever waits for it.
    async fn write(&self, claim: &WriteClaim, records: Vec<RowRecord>) -> Result<Positions> {
        let Some(deployment) = self.this() else { return Err(Error::unavailable("the server is stopping")) };
        let target = claim.target.clone();
        let writing = tokio::spawn(async move { deployment.write_records(&target, records).await });
        writing.await.unwrap_or_else(|e| Err(Error::internal("writing rows ended abnormally").with_source(e)))
    }
}

impl Deployment {
    async fn carry_out(&self, principal: &Principal, statement: Statement) -> Result<Defined, SqlError> {
        if let Statement::CreateView(definition) = &statement {
            self.check(definition)?;
        }
        if let Statement::AddColumn(added) = &statement {
            return self.add_column(principal, added).await;
        }
        let is_drop = matches!(
            statement,
            Statement::DropSource { .. } | Statement::DropTable { .. } | Statement::DropView { .. }
        );
        self.carry_out_checked(principal, statement).await.map_err(|error| match sql_error(&error) {
            // What is in the way of a drop is always what depends on it.
            found if is_drop && error.kind() == ErrorKind::Conflict => {
                SqlError { sqlstate: sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, ..found }
            }
            found => found,
        })
    }

    async fn carry_out_checked(&self, principal: &Principal, statement: Statement) -> Result<Defined> {
        let may_alter = |resource: Resource<'_>| authorise(principal, Access::Alter, resource);
        let mut notices = Vec::new();
        let tag = match statement {
            Statement::CreateSource(source) => {
                may_alter(Resource::Topic(source.topic.as_str()))?;
                self.create_source(source).await?;
                "CREATE SOURCE"
            }
            Statement::CreateTable(table) => {
                may_alter(Resource::Topic(table.topic.as_str()))?;
                may_alter(Resource::View(&table.name))?;
                notices.extend(self.create_table(table).await?);
                "CREATE TABLE"
            }
            Statement::DropTable { name, if_exists, cascade } => {
                may_alter(Resource::View(&name))?;
                notices.extend(tolerate(self.drop_table(&name, cascade).await, if_exists)?);
                "DROP TABLE"
            }
            Statement::CreateView(definition) => {
                may_alter(Resource::View(&definition.name))?;
                notices.extend(self.create_view(definition).await?);
                "CREATE MATERIALIZED VIEW"
            }
            Statement::DropSource { name, if_exists } => {
                may_alter(Resource::Topic(&name))?;
                let dropped = self.drop_source(&name).await.map(|notice| notice.into_iter().collect());
                notices.extend(tolerate(dropped, if_exists)?);
                "DROP SOURCE"
            }
            Statement::DropView { name, if_exists, cascade } => {
                may_alter(Resource::View(&name))?;
                notices.extend(tolerate(self.drop_view(&name, cascade).await, if_exists)?);
                "DROP MATERIALIZED VIEW"
            }
            Statement::RefreshView { name } => {
                may_alter(Resource::View(&name))?;
                notices.extend(self.refresh_view(&name).await?);
                "REFRESH MATERIALIZED VIEW"
            }
            Statement::RollbackView { name } => {
                may_alter(Resource::View(&name))?;
                notices.extend(self.rollback_view(&name).await?);
                "ROLLBACK MATERIALIZED VIEW"
            }
            Statement::AddColumn(_)
            | Statement::ReplayView(_)
            | Statement::Show(_)
            | Statement::Explain(_)
            | Statement::Query(_) => {
                return Err(Error::internal("a statement that defines nothing was given as a definition"));
            }
        };
        Ok(Defined { tag: tag.to_owned(), notices })
    }

    fn describe(&self, principal: &Principal, statement: Statement) -> Result<Vec<String>> {
        authorise(principal, Access::Describe, Resource::Server)?;
        match statement {
            Statement::CreateView(definition) => {
                let plans = self.plans(&definition)?;
                let plan = plans.iter().find(|plan| plan.name() == definition.name);
                let plan = plan.ok_or_else(|| Error::internal("a view that was planned has no plan"))?;
                let exists = self.running().iter().any(|view| view.stored.name == definition.name);
                let pattern = if definition.options.batch_interval.is_some() { "Lambda" } else { "Kappa" };
                let mut lines =
                    vec![format!("{} {pattern} view {}", if exists { "replace" } else { "create" }, definition.name)];
                for source in plan.sources() {
                    lines.push(format!("  reads source {} up to {} by replay", source.name, self.end_of(source)?));
                }
                lines.push(format!("  plan {}", plan.hash()));
                let others = plans.iter().filter(|other| other.name() != definition.name);
                lines.extend(others.map(|other| format!("  moves on together with view {}", other.name())));
                if let PlannedView::Dataflow(..) = plan {
                    lines.extend(plan.explanation().lines().map(|line| format!("  {line}")));
                }
                Ok(lines)
            }
            other => Ok(vec![format!("carry out {other:?}")]),
        }
    }

    fn show_views(&self) -> Result<RecordBatch, ArrowError> {
        let lag = |view: &RunningView| {
            let reached = view.positions();
            let end = self.end_of_all(view.sources()).unwrap_or_default();
            end.iter().map(|(partition, end)| end - reached.next_offset(partition)).sum::<i64>().max(0)
        };
        let running = self.running().into_iter().map(|view| {
            let (name, state, lag) = (view.stored.name.clone(), self.state_of(&view), lag(&view));
            (name, state, lag, view)
        });
        let kept = self.kept().into_iter().map(|kept| {
            let state = state_of_kept(&kept);
            (kept.view.stored.kept_name(), state, lag(&kept.view), kept.view)
        });
        let mut shown: Vec<_> = running.chain(kept).collect();
        shown.sort_by(|(left, ..), (right, ..)| left.cmp(right));
        let views: Vec<&Arc<RunningView>> = shown.iter().map(|(.., view)| view).collect();
        RecordBatch::try_from_iter([
            ("view", strings(shown.iter().map(|(name, ..)| name.clone()))),
            ("version", numbers(views.iter().map(|view| i64::try_from(view.stored.version).unwrap_or(i64::MAX)))),
            ("pattern", strings(views.iter().map(|view| view.wiring.pattern().to_owned()))),
            ("state", strings(shown.iter().map(|(_, state, ..)| state.clone()))),
            ("lag_records", numbers(shown.iter().map(|(_, _, lag, _)| *lag))),
            ("positions", strings(views.iter().map(|view| view.positions().to_string()))),
            ("definition", strings(views.iter().map(|view| view.stored.text.clone()))),
        ])
    }

    fn show_topics(&self) -> Result<RecordBatch, ArrowError> {
        let topics = self.resources.log.topics();
        let records = |topic: &Arc<eventlog::Topic>| {
            let bounds = topic.topic_partitions().filter_map(|partition| self.resources.log.bounds(&partition).ok());
            bounds.map(|bounds| bounds.high_watermark - bounds.log_start_offset).sum::<i64>()
        };
        RecordBatch::try_from_iter([
            ("topic", strings(topics.iter().map(|topic| topic.name.to_string()))),
            ("partitions", numbers(topics.iter().map(|topic| i64::from(topic.partitions)))),
            ("offsets", numbers(topics.iter().map(records))),
        ])
    }
}

/// What a version does that is kept, for people.
fn state_of_kept(kept: &Kept) -> String {
    if let Some(progress) = kept.view.relation().frontier().building() {
        return format!("building {progress}");
    }
    let replayed = match &kept.replayed_from {
        Some(from) if from.is_empty() => "replayed, ".to_owned(),
        Some(from) => format!("replayed from {from}, "),
        None => String::new(),
    };
    match chrono::DateTime::from_timestamp_millis(kept.until_ms) {
        Some(until) => format!("{replayed}kept until {}", until.format("%Y-%m-%d %H:%M:%S")),
        // It was built this moment, or its time is never over.
        None => format!("{replayed}kept"),
    }
}

// IF EXISTS turns a missing thing from an error into a notice.
fn tolerate(outcome: Result<Vec<String>>, if_exists: bool) -> Result<Vec<String>> {
    match outcome {
        Ok(notices) => Ok(notices),
        Err(error) if if_exists && error.kind() == ErrorKind::NotFound => Ok(vec![format!("{error}, skipping")]),
        Err(error) => Err(error),
    }
}

fn strings(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}
