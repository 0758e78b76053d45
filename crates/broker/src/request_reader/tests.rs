//! What a message takes while it arrives.

use futures::FutureExt;
use tokio::io::AsyncWriteExt;

use super::*;

const LIMITS: FrameLimits = FrameLimits { bytes_max: 100 * 1024 * 1024, transfer_timeout: Duration::from_secs(60) };

#[tokio::test]
async fn what_is_announced_takes_no_more_room_than_what_has_come() {
    let (mut client, server) = tokio::io::duplex(1024 * 1024);
    let mut reader = RequestReader::new(server, Arc::new(Semaphore::new(LIMITS.bytes_max)), LIMITS);
    client.write_all(&(LIMITS.bytes_max as u32).to_be_bytes()).await.unwrap();
    for (sent, room_max) in [(1, 32), (20, 64), (100, 512), (400, 2048)] {
        client.write_all(&vec![0; sent * 1024]).await.unwrap();
        assert!(reader.next().now_or_never().is_none(), "it is not whole");
        let room = reader.buffer.capacity() / 1024;
        assert!(room <= room_max, "{room} KiB are held when {sent} more have come");
    }
}

#[tokio::test]
async fn small_requests_that_come_behind_others_are_counted() {
    let (mut client, server) = tokio::io::duplex(1024 * 1024);
    let in_flight = Arc::new(Semaphore::new(LIMITS.bytes_max));
    let mut reader = RequestReader::new(server, Arc::clone(&in_flight), LIMITS);
    let mut requests = Vec::new();
    for _ in 0..10 {
        client.write_all(&(30 * 1024_u32).to_be_bytes()).await.unwrap();
        client.write_all(&[0; 30 * 1024]).await.unwrap();
        requests.push(reader.next().await.unwrap().unwrap());
    }
    let counted = LIMITS.bytes_max - in_flight.available_permits();
    assert_eq!(counted, 8 * 30 * 1024, "two of them fit into the connection's own room");
    drop(requests);
    assert_eq!(in_flight.available_permits(), LIMITS.bytes_max);
}

#[tokio::test]
async fn the_room_of_a_large_request_goes_with_it() {
    let (mut client, server) = tokio::io::duplex(4 * 1024 * 1024);
    let mut reader = RequestReader::new(server, Arc::new(Semaphore::new(LIMITS.bytes_max)), LIMITS);
    for length in [1024 * 1024_u32, 100_000, 3] {
        client.write_all(&length.to_be_bytes()).await.unwrap();
        client.write_all(&vec![7; length as usize]).await.unwrap();
    }
    for length in [1024 * 1024, 100_000] {
        let request = reader.next().await.unwrap().unwrap();
        assert!(request.bytes.len() == length && request.bytes.iter().all(|byte| *byte == 7));
        assert!(request.bytes.is_unique(), "the reader keeps the room of a request of {length} bytes");
    }
    assert_eq!(reader.next().await.unwrap().unwrap().bytes.as_ref(), [7, 7, 7]);
}

/// Who announces all that is allowed, and then sends slowly, keeps nobody else from asking.
#[tokio::test]
async fn large_requests_that_do_not_arrive_leave_room_for_small_ones() {
    let in_flight = Arc::new(Semaphore::new(1024 * 1024));
    let limits = FrameLimits { bytes_max: 1024 * 1024, ..LIMITS };
    let mut stalled = Vec::new();
    for sent in [0, 100, 100_000, 100_000] {
        let (mut client, server) = tokio::io::duplex(1024 * 1024);
        let mut reader = RequestReader::new(server, Arc::clone(&in_flight), limits);
        client.write_all(&(limits.bytes_max as u32).to_be_bytes()).await.unwrap();
        client.write_all(&vec![0; sent]).await.unwrap();
        assert!(reader.next().now_or_never().is_none(), "it is not whole");
        stalled.push((client, reader));
    }
    assert_eq!(in_flight.available_permits(), 0, "the first of them has taken all");
    let (mut client, server) = tokio::io::duplex(1024 * 1024);
    let mut reader = RequestReader::new(server, Arc::clone(&in_flight), limits);
    client.write_all(&[0, 0, 0, 3, 1, 2, 3]).await.unwrap();
    let request = reader.next().now_or_never().expect("a small request waits for nobody").unwrap().unwrap();
    assert_eq!(request.bytes.as_ref(), [1, 2, 3]);
}
