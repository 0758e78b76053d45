//! A small Kafka client: what our own command line, demo and tests need.
//!
//! What it is: [`Client`] for topics, offsets, single produce requests and reading; [`Producer`] for throughput: it
//! gathers records into batches, keeps several requests in flight, and is idempotent, so that a record is stored once
//! however often its request was repeated.
//!
//! What it is not: a consumer-group member, or a client for clusters in which partitions are led by several brokers; it
//! talks to the one broker it was given, and says so when that broker does not lead a partition.
//!
//! ```no_run
//! # async fn example() -> model::Result<()> {
//! use broker::client::{Client, Producer, ProducerSettings};
//! use eventlog::Record;
//!
//! let client = Client::connect("127.0.0.1:9092").await?;
//! let flights = model::TopicName::new("flights")?;
//! client.create_topic(&flights, 4, &eventlog::TopicSettings::default()).await?;
//! let producer = Producer::start(&client, ProducerSettings::shipped()).await?;
//! let record = Record { key: Some("AA1".into()), value: Some("departed".into()), ..Record::default() };
//! let delivered = producer.send(&flights, record).await?.confirmed().await?;
//! println!("stored at {} of {} after {:?}", delivered.offset, delivered.partition, delivered.latency);
//! # Ok(())
//! # }
//! ```

mod accumulator;
mod connection;
mod error;
mod producer;
mod producer_task;
mod requests;
mod send_queue;
mod settings;

pub use producer::{Delivered, Delivery, Producer};
pub use requests::{Client, Fetched, Follower, OffsetQuery, ProducerIdentity, TopicDescription};
pub use settings::{ClientSettings, ProducerSettings};
