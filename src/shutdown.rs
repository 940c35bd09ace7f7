//! Signals: the first SIGTERM or SIGINT drains, the second one ends the process; SIGUSR1 shows the settings.

use std::{future::Future, io, process, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::sleep,
};
use tracing::{info, warn};

/// What a process that was ended by a second signal leaves behind: 128 and the number of SIGTERM.
const IMPATIENT: i32 = 143;

/// The process's signals.
pub struct Signals {
    term: Signal,
    int: Signal,
}

/// A stop that was asked for, and when it should be over.
pub struct Asked {
    asked: watch::Receiver<bool>,
    timeout: Duration,
}

impl Signals {
    /// Takes the signals over from now on. `settings` is what SIGUSR1 prints.
    pub fn install(settings: String) -> io::Result<Self> {
        let mut show = signal(SignalKind::user_defined1())?;
        tokio::spawn(async move {
            while show.recv().await.is_some() {
                eprintln!("{settings}");
            }
        });
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// Resolves at the first signal; the second one ends the process at once. Nothing that was acknowledged is lost by
    /// that: the next start recovers.
    pub fn stop(mut self, timeout: Duration) -> (impl Future<Output = ()> + Send + 'static, Asked) {
        let (ask, asked) = watch::channel(false);
        tokio::spawn(async move {
            self.next().await;
            info!("asked to stop; once more stops at once");
            ask.send_replace(true);
            self.next().await;
            warn!("asked again: stopping at once");
            process::exit(IMPATIENT);
        });
        let mut first = asked.clone();
        let stop = async move { _ = first.wait_for(|asked| *asked).await };
        (stop, Asked { asked, timeout })
    }
}

impl Asked {
    /// Resolves when the stop should have been over.
    pub async fn too_long(mut self) {
        // The sender lives as long as the process.
        let _ = self.asked.wait_for(|asked| *asked).await;
        sleep(self.timeout).await;
    }
}
