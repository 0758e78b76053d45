//! What a budget gives, and what it refuses.

use super::{MemoryBudget, MemoryExhausted};

#[test]
fn reservations_never_pass_the_budget_and_give_back_what_they_took() {
    let budget = MemoryBudget::new(100);
    let mut queries = budget.reserve("queries", 60).unwrap();
    let refused = budget.reserve("views", 41).unwrap_err();
    let expected =
        MemoryExhausted { name: "views", asked_bytes: 41, free_bytes: 40, budget_bytes: 100, is_part: false };
    assert_eq!(refused, expected);
    let views = budget.reserve("views", 40).unwrap();
    assert_eq!(budget.by_name(), [("queries", 60), ("views", 40)].into());
    queries.resize(10).unwrap();
    queries.resize(60).unwrap();
    queries.resize(61).unwrap_err();
    assert_eq!((queries.bytes(), budget.reserved_bytes()), (60, 100));
    drop(views);
    queries.shrink(1_000);
    assert_eq!((queries.bytes(), budget.reserved_bytes()), (0, 0));
}

#[test]
fn a_part_leaves_the_rest_to_others_and_may_use_what_they_leave() {
    let budget = MemoryBudget::new(100);
    let part = budget.part(75);
    let views = part.reserve("views", 70).unwrap();
    let refused = part.reserve("views", 6).unwrap_err();
    assert!(refused.is_part && refused.free_bytes == 5 && refused.budget_bytes == 75, "{refused:?}");
    assert!(refused.to_string().contains("5 of the 75 bytes that views may take of memory.budget_bytes are free"));
    let mut queries = budget.reserve("queries", 28).unwrap();
    // The whole is what is used up here: it may be given back.
    let refused = part.reserve("views", 3).unwrap_err();
    assert!(!refused.is_part && refused.free_bytes == 2 && refused.budget_bytes == 100, "{refused:?}");
    assert_eq!(part.reserved_bytes(), 70, "what is refused by the whole is not counted in the part");
    assert_eq!(budget.by_name(), [("queries", 28), ("views", 70)].into());
    queries.shrink(1);
    part.reserve("views", 3).unwrap();
    drop(views);
    assert_eq!((part.reserved_bytes(), budget.reserved_bytes()), (0, 27));
    budget.reserve("queries", 73).unwrap();
}

#[test]
fn what_is_there_already_counts_even_beyond_the_budget() {
    let budget = MemoryBudget::new(100);
    let mut answers = budget.reservation("answers");
    answers.grow_beyond(150);
    assert_eq!(budget.reserve("queries", 1).unwrap_err().free_bytes, 0);
    answers.grow(u64::MAX).unwrap_err();
    drop(answers);
    budget.reserve("queries", 100).unwrap();
}

#[test]
fn a_refusal_says_the_numbers_and_the_setting() {
    let error = model_error(MemoryBudget::new(100).reserve("queries", 200).unwrap_err());
    let message = "out of memory: 200 bytes more are needed for queries, and 100 of the 100 bytes of memory.budget_bytes are free";
    assert_eq!(error.message(), message);
    assert!(error.hint().unwrap().contains("`memory.budget_bytes`"));
}

fn model_error(error: MemoryExhausted) -> crate::Error {
    error.into()
}
