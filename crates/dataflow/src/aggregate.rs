//! Which aggregates there are.

use std::fmt;

use arrow::datatypes::DataType;

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateKind {
    /// How many rows, or values that are not NULL.
    Count,
    /// The exact sum.
    Sum,
    /// The exact sum by the count, rounded once.
    Avg,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// How far values are from their mean, squared, on average.
    Variance {
        /// Whether the values are some of more, so that they are divided by one less.
        is_sample: bool,
        /// Whether its root is wanted: the standard deviation.
        is_root: bool,
    },
    /// Whether all values are true.
    All,
    /// Whether any value is true.
    Any,
    /// The value at the first place in the log.
    First {
        /// Whether NULLs are passed over.
        ignore_nulls: bool,
    },
    /// The value at the last place in the log.
    Last {
        /// Whether NULLs are passed over.
        ignore_nulls: bool,
    },
}

impl AggregateKind {
    /// Whether its state is a sum, so that a row can be taken back.
    #[must_use]
    pub fn is_linear(self) -> bool {
        matches!(self, Self::Count | Self::Sum | Self::Avg | Self::Variance { .. } | Self::All | Self::Any)
    }

    /// Whether it depends on the rows' places in the log.
    #[must_use]
    pub fn needs_place(self) -> bool {
        matches!(self, Self::First { .. } | Self::Last { .. })
    }
}

impl fmt::Display for AggregateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Variance { is_sample: false, is_root: false } => "var_pop",
            Self::Variance { is_sample: true, is_root: false } => "var_samp",
            Self::Variance { is_sample: false, is_root: true } => "stddev_pop",
            Self::Variance { is_sample: true, is_root: true } => "stddev_samp",
            Self::All => "bool_and",
            Self::Any => "bool_or",
            Self::First { .. } => "first_value",
            Self::Last { .. } => "last_value",
        })
    }
}

impl AggregateSignature {
    /// Whether it has to keep the values that it counts once.
    #[must_use]
    pub fn keeps_distinct_values(&self) -> bool {
        self.is_distinct
            && matches!(
                self.kind,
                AggregateKind::Count | AggregateKind::Sum | AggregateKind::Avg | AggregateKind::Variance { .. }
            )
    }
}

/// An aggregate function over values of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateSignature {
    /// The function.
    pub kind: AggregateKind,
    /// Whether each value counts once. Of `min`, `max`, `bool_and` and `bool_or` nothing depends on it.
    pub is_distinct: bool,
    /// What it takes; meaningless for `count(*)`.
    pub argument_type: DataType,
    /// What it gives.
    pub output_type: DataType,
}
