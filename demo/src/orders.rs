//! The sample orders.

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// What is produced: one order a line, its customer is the record's key.
pub const FILE: &str = "demo/orders.jsonl";
const TEXT: &str = include_str!("../orders.jsonl");

/// One order, as it stands in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub id: String,
    pub item: String,
    pub cents: u64,
    /// The payment service fails at the first try.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub customer: String,
    pub order: Order,
    /// As it is written to the topic.
    pub text: &'static str,
}

/// All lines, in order.
pub fn sample() -> anyhow::Result<Vec<Line>> {
    #[derive(Deserialize)]
    struct Keyed {
        customer: String,
        #[serde(flatten)]
        order: Order,
    }
    let parse = |(number, text): (usize, &'static str)| {
        let keyed: Keyed = serde_json::from_str(text).with_context(|| format!("{FILE}:{}", number + 1))?;
        Ok(Line { customer: keyed.customer, order: keyed.order, text })
    };
    TEXT.lines().enumerate().map(parse).collect()
}

/// `1250` as `12.50`.
pub fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_file_is_what_the_tour_says() {
        let lines = sample().unwrap();
        let ids: BTreeSet<_> = lines.iter().map(|line| &line.order.id).collect();
        let customers: BTreeSet<_> = lines.iter().map(|line| &line.customer).collect();
        assert_eq!((lines.len(), ids.len(), customers.len()), (60, 60, 8));
        assert!(lines.iter().any(|line| line.order.flaky));
    }

    #[test]
    fn amounts() {
        assert_eq!([money(0), money(5), money(1250)], ["0.00", "0.05", "12.50"]);
    }
}
