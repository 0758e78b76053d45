//! What `/readyz` says: which parts of the server can do their work, and which only some of it.
//!
//! Every part is up before the HTTP door opens; what can still fail on the way are the log and views, and views that have
//! answered before the last stop may still have to fold what came until then.
//!
//! What must hold: a server that still answers is ready, and what it lacks or has lost is said all the same. So is a view that
//! has failed: by waiting it gets no better, and whoever keeps the server out for it keeps out all that it does answer.

use std::sync::Arc;

use eventlog::{Damage, EmbeddedLog, Error};
use eventstore::EventStore;
use patterns::{Deployment, ViewState};
use serving::http::{Part, Readiness};

/// Asks the parts of one server.
pub(crate) fn of(log: Arc<EmbeddedLog>, store: Arc<EventStore>, deployment: Arc<Deployment>) -> Readiness {
    Readiness::new(move || {
        let views = deployment.view_states().into_iter();
        let views = views.map(part_of_view);
        let log = part_of_log(log.check_running(), &log.damage());
        std::iter::once(log).chain(damaged_events(&store)).chain(views).collect()
    })
}

fn part_of_view(ViewState { name, state, ready, failed }: ViewState) -> Part {
    Part { name: format!("view {name}"), ready, degraded: ready && failed, note: Some(state) }
}

/// A log that has stopped is not ready. One that lacks room goes on by itself and is read meanwhile, and of one that has lost
/// something the rest is there.
fn part_of_log(running: eventlog::Result<()>, damage: &[Damage]) -> Part {
    let lacking = running.err();
    let ready = lacking.as_ref().is_none_or(is_for_a_while);
    let damage = damage.first().map(|first| {
        let place = first.partition.as_ref().map_or_else(String::new, |partition| format!("{partition}: "));
        let more = if damage.len() > 1 { format!("; {} more such places", damage.len() - 1) } else { String::new() };
        format!("damaged: {place}{}: {}{more}", first.file, first.reason)
    });
    let notes: Vec<String> = lacking.map(|error| error.to_string()).into_iter().chain(damage).collect();
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Part { name: "log".to_owned(), ready, degraded: ready && note.is_some(), note }
}

fn is_for_a_while(error: &Error) -> bool {
    matches!(error, Error::DiskFull { .. } | Error::TooManyOpenFiles { .. })
}

// Damaged events refuse their streams; what else there is, is ready.
fn damaged_events(store: &EventStore) -> Option<Part> {
    let damage = store.damage();
    let first = damage.first()?;
    let streams = match first.streams.as_deref() {
        Some([stream]) => format!("of stream {stream}"),
        Some([stream, others @ ..]) => format!("of stream {stream} and {} more", others.len()),
        _ => "of a stream that cannot be told".to_owned(),
    };
    let range = format!("{} to {}", first.offsets.start, first.offsets.end - 1);
    let more = if damage.len() > 1 { format!("; {} more such places", damage.len() - 1) } else { String::new() };
    let note = format!("damaged at offsets {range} of {}, {streams}: {}{more}", store.partition(), first.reason);
    Some(Part { name: "events".to_owned(), ready: true, degraded: true, note: Some(note) })
}

#[cfg(test)]
mod tests {
    //! What is said of a log, whatever it lacks or has lost, and of views.

    use eventlog::{Damage, DamagedPart, Error};

    use super::{ViewState, part_of_log, part_of_view};

    #[test]
    fn only_a_view_that_will_answer_again_keeps_the_server_out() {
        let part = |state: &str, ready, failed| {
            let part = part_of_view(ViewState { name: "v".to_owned(), state: state.to_owned(), ready, failed });
            assert_eq!((part.name.as_str(), part.note.as_deref()), ("view v", Some(state)));
            (part.ready, part.degraded)
        };
        assert_eq!(part("running", true, false), (true, false));
        assert_eq!(part("building 34% (34 of 100 records)", false, false), (false, false));
        assert_eq!(part("failed: its disk is full", true, true), (true, true));
    }

    #[test]
    fn a_log_that_answers_is_ready_and_what_it_lacks_is_said() {
        let lost = Damage {
            part: DamagedPart::Records,
            partition: Some("t/0".parse().unwrap()),
            file: "0.log".to_owned(),
            reason: "it is missing".to_owned(),
        };
        let full = || Err(Error::DiskFull { doing: "write 1.wal".to_owned() });
        let files = || Err(Error::TooManyOpenFiles { doing: "open 1.wal".to_owned() });
        let stopped = || Err(Error::Stopped("the sync fails".to_owned()));
        let [none, one, two] = [vec![], vec![lost.clone()], vec![lost; 2]];
        for (running, damage, ready, degraded, note) in [
            (Ok(()), &none, true, false, None),
            (full(), &none, true, true, Some("the disk is full: cannot write 1.wal")),
            (files(), &none, true, true, Some("too many files are open: cannot open 1.wal")),
            (stopped(), &none, false, false, Some("the log does not take writes: the sync fails")),
            (Ok(()), &one, true, true, Some("damaged: t/0: 0.log: it is missing")),
            (Ok(()), &two, true, true, Some("damaged: t/0: 0.log: it is missing; 1 more such places")),
            (
                full(),
                &one,
                true,
                true,
                Some("the disk is full: cannot write 1.wal; damaged: t/0: 0.log: it is missing"),
            ),
        ] {
            let part = part_of_log(running, damage);
            assert_eq!((part.ready, part.degraded, part.note.as_deref()), (ready, degraded, note));
        }
    }
}
