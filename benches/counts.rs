//! One pure stage, again and again, for whoever counts its instructions: `benches/counts` does, under valgrind.
//!
//! `--list` prints the stages. `--stage NAME --times N` calls one N times, behind calls that nobody counts: those make what is made once.
//! Before and after the N it asks for the parent's id, which nothing else here does, so that the calls of `getppid` are marks around
//! them. Time, ids and jitter are fixed; whoever counts sees to the seeds of hash tables.
//!
//! What the allocator does for a call depends on what lies in its heap, and what searches and copies memory depends on where that
//! begins. So that loading a configuration has no part in either, the calls are made by a thread, which has a heap of its own, and an
//! event's text is copied in each, as it is from a connection.
#![allow(clippy::print_stdout, reason = "it prints for a script")]

use std::hint::black_box;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use jiff::Timestamp;
use outrigger::delivery::Outcome;
use outrigger::event::{Event, EventId};
use outrigger::plan::plan;
use outrigger::trace::SpanId;
use outrigger::webhook::judge::judge;
use outrigger::webhook::request::WEBHOOK_ID;

#[path = "parts/answers.rs"]
mod answers;
#[path = "parts/ends.rs"]
mod ends;
#[path = "parts/event.rs"]
mod event;
#[path = "parts/shapes.rs"]
mod shapes;
#[path = "parts/webhooks.rs"]
mod webhooks;

use answers::Answer;
use ends::End;
use shapes::{BYTES_MAX, Shape};
use webhooks::configuration;

/// Calls before those that count.
const UNCOUNTED: u64 = 100;
/// Webhooks that planning finds, among as many that it does not.
const MATCHING: usize = 10;
/// Bytes of the event's justification.
const JUSTIFICATION: usize = 96;

/// One call of a stage.
type Call = Box<dyn FnMut() + Send>;

/// A stage: its name, and how a call of it is prepared.
type Stage = (String, Box<dyn FnOnce() -> Call>);

fn stages() -> Vec<Stage> {
    let mut stages: Vec<Stage> = vec![
        ("decode".to_owned(), Box::new(decoding)),
        ("parse".to_owned(), Box::new(parsing)),
        ("plan".to_owned(), Box::new(planning)),
    ];
    for shape in shapes::ALL {
        stages.push((format!("render-{shape}"), Box::new(move || rendering(&shape))));
    }
    for answer in answers::ALL {
        stages.push((format!("judge-{answer}"), Box::new(move || judging(answer))));
    }
    for end in ends::ALL {
        stages.push((format!("retry-{end}"), Box::new(move || deciding(&end))));
    }
    stages.push(("sign".to_owned(), Box::new(signing)));
    stages.push(("event-to-request".to_owned(), Box::new(all_of_it)));
    stages
}

/// From bytes to an event, of which nothing but the type is kept.
fn decoding() -> Call {
    let snapshot = configuration([webhooks::filtered(0, true)]);
    let raw = event::raw(JUSTIFICATION);
    Box::new(move || drop(black_box(event::decoded(&snapshot, Bytes::copy_from_slice(black_box(&raw))))))
}

/// The event's tree, made and kept with it.
fn parsing() -> Call {
    let raw = event::raw(JUSTIFICATION);
    let (kind, event_type): (Arc<str>, Arc<str>) = ("request".into(), "RequestGranted".into());
    Box::new(move || {
        let raw = Bytes::copy_from_slice(black_box(&raw));
        let id = EventId::from_bytes([1; 16]);
        let event = Event::new(id, Arc::clone(&kind), Arc::clone(&event_type), Timestamp::UNIX_EPOCH, raw);
        black_box(event.keep_parsed().expect("it is JSON"));
    })
}

/// Which webhooks want an event whose tree is made.
fn planning() -> Call {
    let snapshot = configuration((0..2 * MATCHING).map(|number| webhooks::filtered(number, number < MATCHING)));
    let event = event::decoded(&snapshot, event::raw(JUSTIFICATION));
    event.keep_parsed().expect("it is JSON");
    Box::new(move || {
        let plan = plan(&snapshot, &black_box(&event).tree());
        assert_eq!(black_box(plan).wanted.len(), MATCHING);
    })
}

fn rendering(shape: &Shape) -> Call {
    let (template, payload) = (shape.compile(), shape.payload());
    Box::new(move || {
        black_box(template.render(black_box(&payload), false, BYTES_MAX).expect("it is rendered"));
    })
}

fn judging(answer: Answer) -> Call {
    let (webhook, headers) = (answer.webhook(), answers::headers());
    Box::new(move || {
        let judgement = judge(&webhook, black_box(answer.parts(&headers)), Timestamp::UNIX_EPOCH);
        assert_eq!(black_box(judgement).outcome, Outcome::Accepted);
    })
}

fn deciding(end: &End) -> Call {
    let question = end.question();
    Box::new(move || {
        black_box(black_box(&question).decide());
    })
}

/// The webhook of the stages that need all of one.
const WHOLE: &str = r#"
url = "https://hooks.example.com/requests/{{data.id}}"
triggers = ["RequestGranted"]
body = '''
{ "text": "{{data.requester.name}} may use {{data.access_groups.[0].integration.name}}: {{data.justification}}",
  "request": "{{data.friendly_id}}", "at": "{{event_time}}" }
'''
[headers]
x-team = "access"
[auth]
bearer = { token = "a-token-of-a-bench" }
[[filters]]
field = "integration"
any_of = ["prod-*"]
[signing]
standard_webhooks = { secrets = ["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="] }
"#;

/// The signature of a request that is rendered already.
fn signing() -> Call {
    let snapshot = configuration([WHOLE]);
    let event = event::decoded(&snapshot, event::raw(JUSTIFICATION));
    let webhook = snapshot.webhooks.values().next().expect("there is one").clone();
    let mut request = webhook.render(&event).expect("it is rendered");
    let id = request.headers.get(WEBHOOK_ID).expect("every request has it").clone();
    Box::new(move || {
        let signing = webhook.signing.as_ref().expect("it signs");
        signing.sign(&mut request.headers, black_box(&id), Timestamp::UNIX_EPOCH, &request.body);
    })
}

/// All that a delivery costs between the two networks, but for the spool.
fn all_of_it() -> Call {
    let snapshot = configuration([WHOLE]);
    let raw = event::raw(JUSTIFICATION);
    Box::new(move || {
        let event = event::decoded(&snapshot, Bytes::copy_from_slice(black_box(&raw)));
        let plan = plan(&snapshot, &event.tree());
        let webhook = plan.wanted.first().expect("it is wanted");
        let mut request = webhook.render(&event).expect("it is rendered");
        request.trace(&event, SpanId::new(1));
        let id = request.headers.get(WEBHOOK_ID).expect("every request has it").clone();
        let signing = webhook.signing.as_ref().expect("it signs");
        signing.sign(&mut request.headers, &id, Timestamp::UNIX_EPOCH, &request.body);
        black_box(request);
    })
}

/// The widest vectors that the machine shows: what searches memory chooses by them.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") { "avx2" } else { "sse2" }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH
    }
}

fn main() {
    // `cargo bench` adds a word of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => stages().iter().for_each(|(name, _)| println!("{name}")),
        ["--stage", name, "--times", times] => {
            let times: u64 = times.parse().expect("--times takes a number");
            let stage = stages().into_iter().find(|(known, _)| known == name);
            let (_, prepare) =
                stage.unwrap_or_else(|| panic!("there is no stage {name}: --list prints those that there are"));
            let mut call = prepare();
            let counted = thread::spawn(move || {
                (0..UNCOUNTED).for_each(|_| call());
                black_box(parent_id());
                (0..times).for_each(|_| call());
                black_box(parent_id());
            });
            counted.join().expect("no panic");
            println!("vectors {}", vectors());
        }
        _ => println!("benches/counts counts the instructions of these stages: --list, or --stage NAME --times N"),
    }
}
