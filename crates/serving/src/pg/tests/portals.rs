//! Portals, which keep what a client sent for as long as they are open.

use std::sync::Arc;

use model::{MemoryBudget, Metrics};

use super::{Wire, code, kinds};
use crate::{
    fixture::Fixture,
    pg::{PgSettings, start},
    sql::{SqlService, SqlSettings},
};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn what_open_portals_keep_comes_from_the_budget_of_memory() {
    let fixture = Fixture::new();
    let memory = MemoryBudget::new(4 * MIB as u64);
    let (views, definitions) = (Arc::clone(&fixture.views), Arc::clone(&fixture.definitions) as _);
    let sql = SqlService::with_memory(memory.clone(), views, definitions, SqlSettings::shipped(), Metrics::default());
    let server = start(PgSettings { port: 0, ..PgSettings::shipped() }, sql.unwrap()).await.unwrap();
    let mut wire = Wire::connect(&server).await;
    let held = || memory.by_name().get("portals").copied().unwrap_or_default();

    wire.query("BEGIN").await;
    wire.send(b'P', b"\0SELECT length($1)\0\0\0").await;
    for name in ["a", "b", "b", "b", "c"] {
        wire.send(b'B', &bind(name, MIB)).await;
    }
    assert_eq!(kinds(&wire.sync().await), "122222", "a name that is used again gives back what it had");
    assert!(held() >= 3 * MIB as u64);
    wire.send(b'C', b"Pa\0").await;
    wire.send(b'B', &bind("d", MIB)).await;
    wire.send(b'B', &bind("e", MIB)).await;
    let answer = wire.sync().await;
    assert_eq!(code(&answer), "53200", "{answer:?}");
    wire.query("ROLLBACK").await;
    wire.sync().await;
    assert_eq!(held(), 0);
    assert_eq!(kinds(&wire.query("SELECT 1").await), "TDC");
}

fn bind(portal: &str, bytes: usize) -> Vec<u8> {
    let length = i32::try_from(bytes).unwrap().to_be_bytes();
    [portal.as_bytes(), b"\0\0\0\0\0\x01", &length, &vec![b'x'; bytes], b"\0\0"].concat()
}
