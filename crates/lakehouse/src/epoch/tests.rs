//! Tests of the decision.

use super::{Decision, decide};
use model::{Epoch, Positions};

fn positions(text: &str) -> Positions {
    text.parse().unwrap()
}

#[test]
fn an_epoch_is_compared_with_what_is_committed() {
    enum Expected {
        Covered,
        Gap,
        Commit { floor: &'static str, to: &'static str },
    }
    use Expected::{Commit, Covered, Gap};
    for (committed, from, to, expected) in [
        ("", "", "", Covered),
        ("", "", "a/0:5", Commit { floor: "", to: "a/0:5" }),
        ("a/0:5", "", "a/0:5", Covered),
        ("a/0:5", "a/0:2", "a/0:4", Covered),
        ("a/0:5", "", "a/0:9", Commit { floor: "a/0:5", to: "a/0:9" }),
        ("a/0:5", "a/0:5", "a/0:9", Commit { floor: "a/0:5", to: "a/0:9" }),
        ("a/0:5", "a/0:6", "a/0:9", Gap),
        ("a/0:5,a/1:3", "a/0:1,a/1:2", "a/0:4,a/1:8", Commit { floor: "a/0:5,a/1:3", to: "a/1:8" }),
        ("a/0:5", "a/0:5,a/1:1", "a/0:6,a/1:2", Gap),
    ] {
        let committed = positions(committed);
        let epoch = Epoch::new(positions(from), positions(to)).unwrap();
        let expected = match expected {
            Covered => Decision::Covered,
            Commit { floor, to } => Decision::Commit { floor: positions(floor), to: positions(to) },
            Gap => {
                assert!(matches!(decide(&committed, &epoch), Decision::Gap { .. }), "{committed} {epoch:?}");
                continue;
            }
        };
        assert_eq!(decide(&committed, &epoch), expected, "{committed} {epoch:?}");
    }
}
