//! `agent`: the service.

use std::{sync::mpsc, thread, time::Duration};

use agent::{
    Kind, Result, System,
    host::Host,
    machine::{Machine, Next, World},
    metadata::{Metadata, wanted},
    proxy::Proxy,
    report::{NAMESPACE, Reporter},
};

/// Between two looks at the journal, in which a command of the owner's may have begun something.
const MINUTE: u64 = 60;

/// Runs until it is stopped.
pub fn run() -> Result<()> {
    let mut host = Host::new()?;
    if let Some(bucket) = &host.config().bucket {
        let port = Proxy::from_env(bucket).listen(host.config().port)?;
        eprintln!("gs://{bucket} is the binary cache at http://127.0.0.1:{port}");
    }
    let (sender, wishes) = mpsc::channel();
    thread::spawn(move || follow(&Metadata::from_env(), &sender));

    let mut machine = Machine::new(host.config().patience());
    let mut reporter = Reporter::default();
    let mut complaint = String::new();
    loop {
        let next = step(&mut host, &mut machine).unwrap_or_else(|error| {
            eprintln!("error: {error}");
            Next::In(MINUTE)
        });
        let reported = host.report().map_err(|error| error.what);
        let reported = reported.and_then(|report| {
            reporter.write(&report, |key, value| {
                host.metadata().write(NAMESPACE, key, value)
            })
        });
        let said = reported.err().unwrap_or_default();
        if said != complaint && !said.is_empty() {
            eprintln!("the report is not written: {said}");
        }
        complaint = said;
        let wait = match next {
            Next::Now => 0,
            Next::In(seconds) => seconds.min(MINUTE),
            Next::Settled => MINUTE,
        };
        match wishes.recv_timeout(Duration::from_secs(wait)) {
            Ok(wish) => want(&mut host, wish)?,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Kind::Failed.error(
                    "the watch over the metadata ended",
                    "Restart it: systemctl restart workspace-agent",
                ));
            }
        }
    }
}

fn step(host: &mut Host, machine: &mut Machine) -> Result<Next> {
    let _lock = host.store().lock()?;
    host.refresh()?;
    machine.patience = host.config().patience();
    machine.step(host)
}

/// Notes what the fleet wants.
fn want(host: &mut Host, wanted: Option<System>) -> Result<()> {
    let _lock = host.store().lock()?;
    let mut journal = host.load()?;
    if journal.wanted == wanted {
        return Ok(());
    }
    match &wanted {
        Some(system) => eprintln!("wanted: {system}"),
        None => eprintln!("the fleet wants no system here"),
    }
    journal.wanted = wanted;
    host.save(&journal)
}

/// Tells what the metadata says, as soon as it says something else.
fn follow(metadata: &Metadata, sender: &mpsc::Sender<Option<System>>) {
    let mut etag: Option<String> = None;
    let mut silent = false;
    loop {
        match metadata.attributes(etag.as_deref()) {
            Ok((new, attributes)) => {
                if std::mem::take(&mut silent) {
                    eprintln!("the metadata server answers again");
                }
                etag = Some(new);
                let wish = wanted(&attributes).unwrap_or_else(|error| {
                    eprintln!("{error}");
                    None
                });
                if sender.send(wish).is_err() {
                    return;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut silent, true) {
                    eprintln!("{error}");
                }
                etag = None;
                thread::sleep(Duration::from_secs(5));
            }
        }
    }
}
