//! Subscriptions: all events from an offset on, first those that are there, then each new one.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;
use model::{Offset, Positions};
use tokio::sync::{mpsc, watch};

use crate::{RecordedEvent, Result, store::Shared};

/// What a subscription delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The next event.
    Event(RecordedEvent),
    /// Everything that was there has been delivered; what follows is new. Comes once.
    CaughtUp(Positions),
}

/// A subscription to all events; a [`Stream`] that ends when the store is closed, or after an error.
///
/// Its queue is bounded: a subscriber that does not read makes its own subscription wait, nothing else. Dropping it
/// ends it.
#[derive(Debug)]
pub struct Subscription {
    deliveries: mpsc::Receiver<Result<Delivery>>,
}

impl Subscription {
    pub(crate) fn start(shared: Arc<Shared>, indexed: watch::Receiver<Offset>, from: Offset) -> Self {
        let (sender, deliveries) = mpsc::channel(shared.settings.subscription_queue_events);
        let feed = Feed { shared, indexed, sender, next_offset: from.max(0), caught_up: false };
        tokio::spawn(feed.run());
        Self { deliveries }
    }

    /// The next delivery; `None` when the subscription has ended.
    pub async fn next(&mut self) -> Option<Result<Delivery>> {
        self.deliveries.recv().await
    }
}

impl Stream for Subscription {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.deliveries.poll_recv(context)
    }
}

/// The task behind a subscription.
struct Feed {
    shared: Arc<Shared>,
    indexed: watch::Receiver<Offset>,
    sender: mpsc::Sender<Result<Delivery>>,
    next_offset: Offset,
    caught_up: bool,
}

/// What the task does next.
enum Step {
    Deliver(Vec<RecordedEvent>),
    CaughtUp,
    Wait,
    Fail(crate::Error),
}

impl Feed {
    async fn run(mut self) {
        while self.step().await {}
    }

    /// Does one thing; `false` when there is nobody left to do it for.
    async fn step(&mut self) -> bool {
        match self.decide().await {
            Step::Deliver(events) => {
                for event in events {
                    if self.sender.send(Ok(Delivery::Event(event))).await.is_err() {
                        return false;
                    }
                }
                true
            }
            Step::CaughtUp => {
                self.caught_up = true;
                let positions = Positions::from([(self.shared.partition.clone(), self.next_offset)]);
                self.sender.send(Ok(Delivery::CaughtUp(positions))).await.is_ok()
            }
            Step::Wait => tokio::select! {
                changed = self.indexed.changed() => changed.is_ok(),
                () = self.sender.closed() => false,
            },
            Step::Fail(error) => {
                // The subscriber may have gone.
                let _ = self.sender.send(Err(error)).await;
                false
            }
        }
    }

    async fn decide(&mut self) -> Step {
        // Marks what is indexed now as seen, before it is read: a change after this wakes the wait.
        let end = *self.indexed.borrow_and_update();
        if self.next_offset >= end {
            return if self.caught_up { Step::Wait } else { Step::CaughtUp };
        }
        match self.shared.page(self.next_offset, self.shared.settings.subscription_queue_events).await {
            Ok(page) => {
                self.next_offset = page.next_offset;
                Step::Deliver(page.events)
            }
            Err(error) => Step::Fail(error),
        }
    }
}
