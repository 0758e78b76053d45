//! `fourfold topic`: topics through the Kafka door.

use anyhow::Result;
use broker::client::{Client, OffsetQuery, TopicDescription};
use eventlog::TopicSettings;
use model::{TopicName, TopicPartition};
use serde_json::json;

use crate::cli::TopicCommand;
use crate::door::{print, say, table};

/// Creates, lists, describes or deletes.
pub(crate) async fn run(command: TopicCommand, kafka: &str, as_json: bool) -> Result<()> {
    let client = Client::connect(kafka).await?;
    match command {
        TopicCommand::Create { name, partitions } => {
            client.create_topic(&TopicName::new(&name)?, partitions, &TopicSettings::default()).await?;
            say(format!("created topic {name} with {partitions} partitions"));
            Ok(())
        }
        TopicCommand::List => list(&client.topics().await?, as_json),
        TopicCommand::Describe { name } => describe(&client, &TopicName::new(&name)?, as_json).await,
        TopicCommand::Delete { name } => {
            client.delete_topic(&TopicName::new(&name)?).await?;
            say(format!("deleted topic {name}"));
            Ok(())
        }
    }
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

async fn describe(client: &Client, name: &TopicName, as_json: bool) -> Result<()> {
    let topic = client.topic(name, false).await?;
    let mut partitions = Vec::new();
    for partition in 0..topic.partitions {
        let partition = TopicPartition::new(name.clone(), partition);
        let start = client.offset(&partition, OffsetQuery::Earliest).await?.unwrap_or(0);
        let end = client.offset(&partition, OffsetQuery::Latest).await?.unwrap_or(0);
        partitions.push((partition.partition, start, end));
    }
    if as_json {
        let partitions: Vec<_> = partitions
            .iter()
            .map(|(partition, start, end)| json!({ "partition": partition, "log_start_offset": start, "high_watermark": end }))
            .collect();
        return print(
            json!({ "topic": name.as_str(), "id": topic.id.to_string(), "partitions": partitions }).to_string(),
        );
    }
    let columns = ["partition", "log_start_offset", "high_watermark"].map(str::to_owned);
    let rows: Vec<_> =
        partitions.iter().map(|(p, start, end)| vec![p.to_string(), start.to_string(), end.to_string()]).collect();
    print(table(&columns, &rows))
}
