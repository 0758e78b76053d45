//! What constants take of the budget, and for how long.

use model::MemoryBudget;

use super::{CONSTANT_COPIES, CONSTANT_COPIES_RUNNING, Cost, Evaluation, Stage};

#[test]
fn constants_are_reserved_until_the_statement_ends() {
    const CONSTANT: u64 = 100_000;
    let budget = MemoryBudget::new(2 * CONSTANT_COPIES * CONSTANT - 1);
    let evaluation = Evaluation::new(budget.clone());
    let cost = Cost { bytes: CONSTANT, work: CONSTANT };
    assert!(evaluation.admit_constant("repeat", cost).is_err(), "it is computed while planning");
    assert_eq!(budget.reserved_bytes(), 0);
    evaluation.enter(Stage::Constants);
    evaluation.admit_constant("repeat", cost).unwrap();
    assert_eq!(budget.reserved_bytes(), CONSTANT_COPIES * CONSTANT);
    let refused = evaluation.admit_constant("repeat", cost).unwrap_err();
    assert!(refused.to_string().contains("memory.budget_bytes"), "{refused}");
    evaluation.enter(Stage::Rows);
    assert_eq!(budget.reserved_bytes(), CONSTANT_COPIES_RUNNING * CONSTANT);
    drop(evaluation);
    assert_eq!(budget.reserved_bytes(), 0);
}
