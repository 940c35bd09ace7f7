//! The metadata over a [`Loglet`]: one record at a time, each waited for.

use std::sync::Arc;

use async_trait::async_trait;
use millrace_log::{
    Append, CountingReader, Decision, Delivery, DeliverySink, Kind, Loglet, ReadError, Settle, same_history,
};
use millrace_model::{Applied, ClusterId, Coded, LeaderEpoch, PartitionId};
use tokio::sync::mpsc;

use super::log::{MetaEntry, MetaLog, MetaLogError, MetaPosition};

/// One append is under way at a time; a few more reports than that are never there.
const REPORTS_MAX: usize = 16;

/// Takes the reports about `PartitionId::META` and passes the others on.
pub struct MetaReports {
    reports: mpsc::Sender<Delivery>,
    others: Arc<dyn DeliverySink>,
}

impl MetaReports {
    /// The sink for the log, and what [`LogletMeta`] needs.
    pub fn new(others: Arc<dyn DeliverySink>) -> (Self, mpsc::Receiver<Delivery>) {
        let (reports, receiver) = mpsc::channel(REPORTS_MAX);
        (Self { reports, others }, receiver)
    }
}

impl DeliverySink for MetaReports {
    fn delivered(&self, reports: &[Delivery]) {
        for report in reports.iter().filter(|report| report.partition == PartitionId::META) {
            // Full or closed only if nobody waits for it any more.
            let _ = self.reports.try_send(report.clone());
        }
        self.others.delivered(reports);
    }
}

/// The metadata's log in a loglet.
pub struct LogletMeta {
    log: Arc<dyn Loglet>,
    reports: mpsc::Receiver<Delivery>,
    settle: Settle,
    cluster: ClusterId,
    epoch: Option<LeaderEpoch>,
    number: u64,
}

impl LogletMeta {
    /// Over `log`, whose sink is the [`MetaReports`] that `reports` came with.
    pub fn new(log: Arc<dyn Loglet>, reports: mpsc::Receiver<Delivery>) -> Self {
        let settle = Settle::new(Applied::NONE, 0);
        Self { log, reports, settle, cluster: ClusterId(0), epoch: None, number: 1 }
    }

    /// Waits until the last append is settled.
    async fn settled(&mut self) -> Result<MetaPosition, MetaLogError> {
        let unknown = |reason: String| MetaLogError::Unknown { reason };
        loop {
            match self.settle.poll() {
                Some(Decision::Announced(applied)) => {
                    self.epoch = Some(applied.epoch);
                    return Ok(position(applied));
                }
                Some(Decision::Committed(applied)) => return Ok(position(applied)),
                Some(Decision::Over(over)) => return Err(unknown(format!("the leadership is over: {over:?}"))),
                Some(Decision::Read { .. }) => {
                    return Err(unknown("the report does not follow the one before".to_owned()));
                }
                None => match self.reports.recv().await {
                    Some(report) => self.settle.on_delivery(&report),
                    None => return Err(unknown("the log is gone".to_owned())),
                },
            }
        }
    }

    fn put(&self, kind: Kind, payload: &[u8]) -> Result<u16, MetaLogError> {
        let batch = Append { partition: PartitionId::META, cluster: self.cluster, kind, payload };
        self.log.append(batch).map_err(|error| MetaLogError::Refused { code: error.code(), reason: error.to_string() })
    }
}

#[async_trait]
impl MetaLog for LogletMeta {
    fn replay(
        &mut self,
        cluster: Option<ClusterId>,
        from: MetaPosition,
        each: &mut dyn FnMut(MetaPosition, MetaEntry),
    ) -> Result<Option<ClusterId>, MetaLogError> {
        let MetaPosition { lsn, epoch, number, crc } = from;
        let from = Applied { lsn, epoch, number, crc };
        let refused = |error: ReadError| MetaLogError::Read { code: error.code(), reason: error.to_string() };
        same_history(&*self.log, PartitionId::META, from).map_err(refused)?;
        let mut counting = CountingReader::resume(cluster, from);
        let mut reader = self.log.read(PartitionId::META, from.lsn.next()).map_err(refused)?;
        while let Some(record) = reader.next().map_err(refused)? {
            if let Some(counted) = counting.push(record).map_err(refused)? {
                let entry = match counted.is_announcement() {
                    true => MetaEntry::Announcement,
                    false => MetaEntry::Record(counted.payload.clone()),
                };
                each(position(counted.applied()), entry);
            }
        }
        self.settle = Settle::new(counting.applied(), 0);
        Ok(counting.cluster())
    }

    async fn lead(&mut self, cluster: ClusterId, announcement: Vec<u8>) -> Result<MetaPosition, MetaLogError> {
        self.cluster = cluster;
        self.put(Kind::Announce, &announcement)?;
        self.settle.announced(announcement.into());
        self.settled().await
    }

    async fn append(&mut self, record: Vec<u8>) -> Result<MetaPosition, MetaLogError> {
        let Some(epoch) = self.epoch else {
            return Err(MetaLogError::Unknown { reason: "nobody leads the metadata".to_owned() });
        };
        let kind = Kind::Commands { epoch, number: self.number };
        let parts = self.put(kind, &record)?;
        self.number += u64::from(parts);
        self.settle.appended(kind);
        self.settled().await
    }

    fn trim(&mut self, upto: MetaPosition) {
        let MetaPosition { lsn, epoch, number, crc } = upto;
        self.log.trim(PartitionId::META, Applied { lsn, epoch, number, crc });
    }
}

fn position(applied: Applied) -> MetaPosition {
    let Applied { lsn, epoch, number, crc } = applied;
    MetaPosition { lsn, epoch, number, crc }
}

#[cfg(test)]
mod tests;
