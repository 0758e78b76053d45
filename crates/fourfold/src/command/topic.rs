//! `fourfold topic`: topics through the Kafka door, and their deletion through the HTTP door, which knows who uses them.

use anyhow::Result;
use broker::client::{Client, OffsetQuery, TopicDescription};
use eventlog::TopicSettings;
use model::{ErrorKind, TopicName, TopicPartition};
use serde_json::json;

use crate::cli::{TopicArguments, TopicCommand};
use crate::door::{self, Http, path_segment};
use crate::output::{print, say};
use crate::table::{count, table};

/// Creates, lists, describes or deletes.
pub(crate) async fn run(arguments: TopicArguments, as_json: bool) -> Result<()> {
    match arguments.command {
        TopicCommand::Create { name, partitions, door } => {
            create(&door::kafka(&door).await?, &name, partitions, as_json).await
        }
        TopicCommand::List(door) => list(&door::kafka(&door).await?.topics().await?, as_json),
        TopicCommand::Describe { name, door } => describe(&door::kafka(&door).await?, &name, as_json).await,
        TopicCommand::Delete { name, force, door } => delete(&Http::new(&door), &name, force, as_json).await,
    }
}

/// Finds a topic that must be there: a misspelt name is an error, not a new topic.
pub(crate) async fn find(client: &Client, name: &TopicName) -> Result<TopicDescription> {
    let found = client.topic(name, false).await;
    Ok(found.map_err(|error| match error.kind() {
        ErrorKind::NotFound => model::Error::not_found(format!("there is no topic {name}")).with_hint(format!(
            "fourfold topic list shows those that there are; fourfold topic create {name} makes it"
        )),
        _ => error,
    })?)
}

async fn create(client: &Client, name: &str, partitions: i32, as_json: bool) -> Result<()> {
    client.create_topic(&TopicName::new(name)?, partitions, &TopicSettings::default()).await?;
    if as_json {
        return print(json!({ "topic": name, "partitions": partitions }).to_string());
    }
    say(format!("created topic {name} with {}", count(usize::try_from(partitions)?, "partition")));
    Ok(())
}

async fn delete(http: &Http, name: &str, force: bool, as_json: bool) -> Result<()> {
    let topic = TopicName::new(name)?;
    // Which topics may go is the server's to say.
    http.delete(&format!("/v1/topics/{}", path_segment(topic.as_str())), &[("force", force.to_string())]).await?;
    if as_json {
        return print(json!({ "topic": name, "deleted": true }).to_string());
    }
    say(format!("deleted topic {name}"));
    Ok(())
}

fn list(topics: &[TopicDescription], as_json: bool) -> Result<()> {
    if as_json {
        let topics: Vec<_> = topics
            .iter()
            .map(|topic| json!({ "topic": topic.name.as_str(), "partitions": topic.partitions }))
            .collect();
        return print(json!(topics).to_string());
    }
    let rows: Vec<_> = topics.iter().map(|topic| vec![topic.name.to_string(), topic.partitions.to_string()]).collect();
    print(table(&["topic".to_owned(), "partitions".to_owned()], &rows))
}

async fn describe(client: &Client, name: &str, as_json: bool) -> Result<()> {
    let topic = find(client, &TopicName::new(name)?).await?;
    let mut partitions = Vec::new();
    for partition in 0..topic.partitions {
        let partition = TopicPartition::new(topic.name.clone(), partition);
        let start = client.offset(&partition, OffsetQuery::Earliest).await?.unwrap_or(0);
        let end = client.offset(&partition, OffsetQuery::Latest).await?.unwrap_or(0);
        partitions.push((partition.partition, start, end));
    }
    if as_json {
        let partitions: Vec<_> = partitions
            .iter()
            .map(|(partition, start, end)| json!({ "partition": partition, "log_start_offset": start, "high_watermark": end }))
            .collect();
        return print(json!({ "topic": name, "id": topic.id.to_string(), "partitions": partitions }).to_string());
    }
    let columns = ["partition", "log_start_offset", "high_watermark"].map(str::to_owned);
    let rows: Vec<_> =
        partitions.iter().map(|(p, start, end)| vec![p.to_string(), start.to_string(), end.to_string()]).collect();
    print(table(&columns, &rows))
}
