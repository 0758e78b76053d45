//! [`Wiring`]: what a view is to the deployment, however it is wired.

use std::sync::Arc;

use async_trait::async_trait;
use model::Result;
use serving::views::Relation;

use crate::lambda::LambdaView;

/// How a view is wired: on one path, on two, or not at all where it could not be started.
#[async_trait]
pub(crate) trait Wiring: Send + Sync {
    /// What queries read.
    fn relation(&self) -> Arc<dyn Relation>;

    /// The pattern's name.
    fn pattern(&self) -> &'static str;

    /// What it is doing while all is well, for people.
    fn state(&self) -> String;

    /// Stops its tasks, with what they have to store stored.
    async fn stop(&self) -> Result<()>;

    /// The two paths, where it has them.
    fn lambda(&self) -> Option<&LambdaView> {
        None
    }
}
