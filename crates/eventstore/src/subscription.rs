//! Subscriptions: all events from an offset on, first those that are there, then each new one.
//!
//! What it is not: a task. A subscription reads a page when its reader has taken the last one, so a reader that is slow
//! holds one page, and one that is gone holds nothing.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, stream};
use model::{Offset, Positions};
use tokio::sync::watch;

use crate::{RecordedEvent, Result, opened::Opened};

/// What a subscription delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all deliveries are events")]
pub enum Delivery {
    /// The next event.
    Event(RecordedEvent),
    /// Everything that was there has been delivered; what follows is new. Comes once.
    CaughtUp(Positions),
}

/// A subscription to all events. It ends when the store is closed, or after an error.
///
/// It holds at most the events that are read at once
/// ([`subscription_queue_events`](crate::EventStoreSettings::subscription_queue_events),
/// [`subscription_queue_bytes`](crate::EventStoreSettings::subscription_queue_bytes)).
pub struct Subscription {
    opened: Arc<Opened>,
    indexed: watch::Receiver<Offset>,
    /// What was read and not yet delivered.
    ahead: VecDeque<RecordedEvent>,
    next_offset: Offset,
    caught_up: bool,
    ended: bool,
}

impl Subscription {
    pub(crate) fn new(opened: Arc<Opened>, indexed: watch::Receiver<Offset>, from: Offset) -> Self {
        let next_offset = from.max(0);
        Self { opened, indexed, ahead: VecDeque::new(), next_offset, caught_up: false, ended: false }
    }

    /// The next delivery; `None` when the subscription has ended. A wait that is given up loses nothing.
    pub async fn next(&mut self) -> Option<Result<Delivery>> {
        while !self.ended {
            if let Some(event) = self.ahead.pop_front() {
                return Some(Ok(Delivery::Event(event)));
            }
            // Marks what is indexed now as seen, before it is read: a change after this ends the wait.
            let end = *self.indexed.borrow_and_update();
            if self.next_offset < end {
                if let Err(error) = self.read().await {
                    self.ended = true;
                    return Some(Err(error));
                }
            } else if !self.caught_up {
                self.caught_up = true;
                let positions = Positions::from([(self.opened.partition.clone(), self.next_offset)]);
                return Some(Ok(Delivery::CaughtUp(positions)));
            } else {
                self.ended = self.indexed.changed().await.is_err();
            }
        }
        None
    }

    /// The deliveries as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Delivery>> {
        stream::unfold(self, async |mut subscription| {
            let delivery = subscription.next().await?;
            Some((delivery, subscription))
        })
    }

    async fn read(&mut self) -> Result<()> {
        let settings = &self.opened.settings;
        let (count_max, bytes_max) = (settings.subscription_queue_events, settings.subscription_queue_bytes);
        let page = self.opened.page(self.next_offset, count_max, bytes_max).await?;
        self.next_offset = page.next_offset;
        self.ahead = page.events.into();
        Ok(())
    }
}
