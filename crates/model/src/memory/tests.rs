//! What a budget gives, and what it refuses.

use super::{MemoryBudget, MemoryExhausted};

#[test]
fn reservations_never_pass_the_budget_and_give_back_what_they_took() {
    let budget = MemoryBudget::new(100);
    let mut queries = budget.reserve("queries", 60).unwrap();
    let refused = budget.reserve("views", 41).unwrap_err();
    assert_eq!(refused, MemoryExhausted { name: "views", asked_bytes: 41, free_bytes: 40, budget_bytes: 100 });
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
