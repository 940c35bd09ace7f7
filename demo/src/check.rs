//! Whether what was shown is right.

use std::collections::BTreeMap;

use crate::{
    orders::{Line, money},
    service::{Account, Report, Tries},
};

/// What there is to be compared with the orders that were produced.
pub struct Seen<'a> {
    /// In the order in which they were shown.
    pub reports: &'a [Report],
    /// By customer, as the server answered.
    pub accounts: &'a BTreeMap<String, Account>,
    /// By order, as the payment service counted.
    pub payments: &'a BTreeMap<String, Tries>,
}

/// Everything that is wrong, a line each; nothing: every order was handled exactly once, in order for each customer.
pub fn faults(lines: &[Line], seen: &Seen<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expected: BTreeMap<&str, (Vec<&str>, u64)> = BTreeMap::new();
    for line in lines {
        let (orders, total) = expected.entry(&line.customer).or_default();
        orders.push(&line.order.id);
        *total += line.order.cents;
        match seen.payments.get(&line.order.id).copied().unwrap_or_default() {
            Tries { paid: 1, all } if all == 1 + u32::from(line.order.flaky) => {}
            tries => faults.push(format!("{}: charged {} times in {} tries", line.order.id, tries.paid, tries.all)),
        }
    }
    for (customer, (orders, total)) in expected {
        let shown: Vec<&str> =
            seen.reports.iter().filter(|report| report.customer == customer).map(|report| &*report.order).collect();
        if shown != orders {
            faults.push(format!("{customer}: shown were {shown:?}, produced were {orders:?}"));
        }
        let Some(account) = seen.accounts.get(customer) else {
            faults.push(format!("{customer}: has no account"));
            continue;
        };
        if account.orders != orders {
            faults.push(format!("{customer}: handled were {:?}, produced were {orders:?}", account.orders));
        }
        if account.total_cents != total {
            faults.push(format!(
                "{customer}: the total is {}, the orders add up to {}",
                money(account.total_cents),
                money(total)
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::sample;

    struct World {
        reports: Vec<Report>,
        accounts: BTreeMap<String, Account>,
        payments: BTreeMap<String, Tries>,
    }

    /// What a server does that keeps its promises.
    fn right(lines: &[Line]) -> World {
        let mut world = World { reports: Vec::new(), accounts: BTreeMap::new(), payments: BTreeMap::new() };
        for Line { customer, order, .. } in lines {
            let account = world.accounts.entry(customer.clone()).or_default();
            account.orders.push(order.id.clone());
            account.total_cents += order.cents;
            world.payments.insert(order.id.clone(), Tries { all: 1 + u32::from(order.flaky), paid: 1 });
            world.reports.push(Report {
                customer: customer.clone(),
                order: order.id.clone(),
                number: account.orders.len(),
                total_cents: account.total_cents,
                payment_tries: 1,
            });
        }
        world
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut World), fault: Option<&str>) {
        let lines = sample().unwrap();
        let mut world = right(&lines);
        change(&mut world);
        let World { reports, accounts, payments } = &world;
        let faults = faults(&lines, &Seen { reports, accounts, payments });
        match fault {
            None => assert_eq!(faults, Vec::<String>::new()),
            Some(fault) => assert!(faults.iter().any(|found| found.contains(fault)), "{faults:?}"),
        }
    }

    #[test]
    fn every_broken_promise_is_found() {
        check(|_| {}, None);
        check(|world| drop(world.reports.pop()), Some("shown were"));
        check(|world| world.reports.push(world.reports[0].clone()), Some("shown were"));
        check(|world| world.accounts.get_mut("ada").unwrap().orders.swap(0, 1), Some("ada: handled were"));
        check(|world| world.accounts.get_mut("ada").unwrap().total_cents += 1, Some("the total is"));
        check(|world| drop(world.accounts.remove("ben")), Some("ben: has no account"));
        check(|world| world.payments.get_mut("o-0001").unwrap().paid = 2, Some("o-0001: charged 2 times"));
        check(|world| world.payments.get_mut("o-0018").unwrap().all = 1, Some("o-0018: charged 1 times in 1 tries"));
    }
}
