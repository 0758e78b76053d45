//! The times are in their ranges, differ, and repeat.

use super::*;

#[test]
fn a_seed_decides_the_times() {
    let times = |seed| {
        let mut times = KillTimes::new(seed);
        (0..200).map(|_| (times.after_ready(), times.in_recovery())).collect::<Vec<_>>()
    };
    assert_eq!(times(7), times(7));
    assert_ne!(times(7), times(8));
    for (running, recovering) in times(7) {
        assert!((200..1500).contains(&running.as_millis()), "{running:?}");
        assert!(recovering.is_none_or(|after| (1..80).contains(&after.as_millis())), "{recovering:?}");
    }
    let recovering = times(7).iter().filter(|(_, recovering)| recovering.is_some()).count();
    assert!((20..80).contains(&recovering), "{recovering} of 200");
}
