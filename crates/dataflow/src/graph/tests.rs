//! Graphs against a model of the whole, at every epoch.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    compute::kernels::cmp::gt,
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use super::{Graph, GroupColumns, Map};
use crate::{
    AggregateKind, AggregateSignature, Change, GroupBy, InnerJoin, JoinKeys, Keep, PresenceJoin, StatePart,
    random::Random, zset::ZSet,
};

/// A seller, an auction, and a price.
type Bid = [i64; 3];

fn integers(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>()))
}

fn rows<const N: usize>(names: &[&str; N], rows: &[([i64; N], i64)]) -> Change {
    let columns = (0..N)
        .map(|column| Arc::new(rows.iter().map(|(row, _)| Some(row[column])).collect::<Int64Array>()) as ArrayRef);
    let batch = RecordBatch::try_new(integers(names), columns.collect()).unwrap();
    Change::new(batch, crate::Weights::of(rows.iter().map(|(_, weight)| *weight).collect())).unwrap()
}

fn aggregate(kind: AggregateKind) -> AggregateSignature {
    AggregateSignature { kind, is_distinct: false, argument_type: DataType::Int64, output_type: DataType::Int64 }
}

fn group_by(schema: &SchemaRef, keys: usize, kinds: &[AggregateKind]) -> GroupBy {
    let aggregates = kinds.iter().map(|kind| aggregate(*kind)).collect();
    GroupBy::new(Arc::clone(schema), keys, aggregates, true).unwrap()
}

/// Keeps some columns, of rows whose last column is more than a number.
struct Above {
    more_than: i64,
    columns: Vec<usize>,
}

impl Map for Above {
    fn apply(&self, change: Change) -> crate::Result<Change> {
        let last = change.rows().columns().last().unwrap();
        let kept = gt(last, &Int64Array::new_scalar(self.more_than)).unwrap();
        let (rows, weights) = change.filter(&kept)?.into_parts();
        Change::new(rows.project(&self.columns).unwrap(), weights)
    }
}

const BID: [&str; 3] = ["seller", "auction", "price"];
const BEST: [&str; 3] = ["seller", "auction", "best"];
const SUM: [&str; 2] = ["seller", "total"];

/// Bids -> the best of each auction -> its sum for each seller; sellers above 20; and how far the sum is from itself.
struct Chain {
    graph: Graph,
    bids: super::NodeId,
}

impl Chain {
    fn new() -> Self {
        let mut graph = Graph::new();
        let bids = graph.input();
        let best = group_by(&integers(&BEST), 2, &[AggregateKind::Max]);
        let columns = GroupColumns { keys: vec![0, 1], arguments: vec![(Some(2), None)], places: None };
        let best = graph.group_by(bids, columns, best);
        let sum = group_by(&integers(&SUM), 1, &[AggregateKind::Sum]);
        let columns = GroupColumns { keys: vec![0], arguments: vec![(Some(2), None)], places: None };
        let sum = graph.group_by(best, columns, sum);
        let rich = graph.map(sum, Arc::new(Above { more_than: 20, columns: vec![0, 1] }));
        // The diamond: each best bid beside its seller's sum.
        let keys = |schema: &SchemaRef| JoinKeys { schema: Arc::clone(schema), columns: vec![0], is_retracting: true };
        let (left, right) = (integers(&BEST), integers(&SUM));
        let beside = graph.operator(vec![best, sum], Box::new(InnerJoin::new(keys(&left), keys(&right), false)));
        let poor = PresenceJoin::new(Keep::Absent, false, keys(&left), keys(&right));
        let poor = graph.operator(vec![best, rich], Box::new(poor));
        let both = graph.union(vec![rich, rich]);
        for output in [best, sum, rich, beside, poor, both] {
            graph.output(output);
        }
        Self { graph, bids }
    }
}

/// What each output has to be.
fn model(bids: &BTreeMap<Bid, i64>) -> Vec<ZSet> {
    let mut best: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for [seller, auction, price] in bids.keys() {
        let kept = best.entry((*seller, *auction)).or_insert(*price);
        *kept = (*kept).max(*price);
    }
    let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
    best.iter().for_each(|((seller, _), price)| *sums.entry(*seller).or_default() += price);
    let of = |change: Change| {
        let mut set = ZSet::default();
        set.add(&change);
        set
    };
    let best: Vec<(Bid, i64)> =
        best.into_iter().map(|((seller, auction), price)| ([seller, auction, price], 1)).collect();
    let all: Vec<([i64; 2], i64)> = sums.iter().map(|(seller, sum)| ([*seller, *sum], 1)).collect();
    let rich: Vec<([i64; 2], i64)> = all.iter().copied().filter(|(row, _)| row[1] > 20).collect();
    let beside: Vec<([i64; 5], i64)> = best.iter().map(|([s, a, p], _)| ([*s, *a, *p, *s, sums[s]], 1)).collect();
    let poor: Vec<(Bid, i64)> = best.iter().copied().filter(|(row, _)| sums[&row[0]] <= 20).collect();
    let both: Vec<([i64; 2], i64)> = rich.iter().map(|(row, _)| (*row, 2)).collect();
    vec![
        of(rows(&BEST, &best)),
        of(rows(&SUM, &all)),
        of(rows(&SUM, &rich)),
        of(rows(&["a", "b", "c", "d", "e"], &beside)),
        of(rows(&BEST, &poor)),
        of(rows(&SUM, &both)),
    ]
}

#[test]
fn every_output_is_its_answer_after_every_epoch() {
    for seed in 0..40 {
        let (mut random, mut chain) = (Random(seed), Chain::new());
        let mut bids: BTreeMap<Bid, i64> = BTreeMap::new();
        let mut out: Vec<ZSet> = (0..6).map(|_| ZSet::default()).collect();
        let mut written: Vec<StatePart> = Vec::new();
        for _ in 0..25 {
            let mut change = Vec::new();
            for _ in 0..random.below(12) {
                let there: Vec<Bid> = bids.keys().copied().collect();
                let (bid, weight) = if random.below(3) == 0 && !there.is_empty() {
                    (there[random.below(there.len())], -1)
                } else {
                    ([random.below(3) as i64, random.below(4) as i64, random.below(12) as i64], 1)
                };
                *bids.entry(bid).or_default() += weight;
                bids.retain(|_, count| *count != 0);
                change.push((bid, weight));
            }
            let half = random.below(change.len() + 1);
            let changes = [rows(&BID, &change[..half]), rows(&BID, &change[half..])];
            let inputs = changes.into_iter().map(|change| (chain.bids, change)).collect();
            for (out, changes) in out.iter_mut().zip(chain.graph.epoch(inputs).unwrap()) {
                changes.iter().for_each(|change| out.add(change));
            }
            assert_eq!(out, model(&bids), "seed {seed}");
            if random.below(3) == 0 {
                written.extend(chain.graph.dirty_parts().unwrap());
                chain.graph.forget_dirty();
                // What is written down is all that there is: another graph goes on from it, and says nothing twice.
                if random.below(2) == 0 {
                    chain = Chain::new();
                    written.iter().for_each(|part| chain.graph.restore(&part.name, &part.rows).unwrap());
                    chain.graph.resume().unwrap();
                }
            }
        }
    }
}

#[test]
fn a_part_of_another_graph_is_refused() {
    let mut chain = Chain::new();
    chain.graph.epoch(vec![(chain.bids, rows(&BID, &[([1, 2, 3], 1)]))]).unwrap();
    let parts = chain.graph.dirty_parts().unwrap();
    for name in ["", "groups", "x.groups", "0.groups", "99.groups", "1.left", "4.last", "4.groups"] {
        assert!(Chain::new().graph.restore(name, &parts[0].rows).is_err(), "{name:?}");
    }
}

#[test]
fn one_group_without_keys_is_out_before_anything_came_in() {
    let mut graph = Graph::new();
    let input = graph.input();
    let count = group_by(&integers(&["n"]), 0, &[AggregateKind::Count]);
    let columns = GroupColumns { keys: vec![], arguments: vec![(None, None)], places: None };
    let count = graph.group_by(input, columns, count);
    graph.output(count);
    let first = graph.epoch(Vec::new()).unwrap();
    assert_eq!(first[0].iter().map(Change::row_count).sum::<usize>(), 1);
    assert!(graph.epoch(Vec::new()).unwrap()[0].is_empty());
    assert!(graph.epoch(vec![(count, rows(&["n"], &[([1], 1)]))]).is_err(), "only an input takes changes");
}
