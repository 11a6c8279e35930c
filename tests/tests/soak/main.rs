//! Continuous writes through three processes on one etcd, while servers, processes and etcd die,
//! freeze and are cut off, one fault after another. All along: nothing acknowledged is lost, no two
//! servers take writes, a planned move fails no statement, and all is well again after each fault.
//! `make soak` runs it for long, and writes a report.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod faults;
mod load;
mod report;
mod world;

use faults::{Kind, Plan, Until};
use std::time::Duration;

/// A number of the environment.
fn given(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// All kinds of faults in turn, shuffled: half a minute more than this, and up to a minute for the
/// last one.
#[test]
fn random_faults_break_no_promise() {
    let until = Until::Time(Duration::from_secs(given("COREGATE_SOAK_SECONDS", 60)));
    let seed = given("COREGATE_SOAK_SEED", 1);
    run("soak", Plan { kinds: Kind::ALL.to_vec(), until, seed });
}

#[test]
#[ignore = "takes minutes; make soak"]
fn twenty_planned_moves_and_twenty_deaths_of_primaries() {
    let rounds = usize::try_from(given("COREGATE_ROUNDS", 20)).unwrap();
    for (name, kind) in [("planned", Kind::Planned), ("killed", Kind::KillPrimary)] {
        run(name, Plan { kinds: vec![kind], until: Until::Rounds(rounds), seed: 1 });
    }
}

fn run(name: &str, plan: Plan) {
    let world = world::World::start(name);
    let load = load::Load::start(&world, 4);
    let watch = world.watch_writable();
    load.wait_more(50);
    let events = faults::run(&world, &load, &plan);
    world.wait_well();
    load.wait_more(50);
    let mut broken = watch.stop();
    let done = load.stop();
    broken.extend(events.iter().filter_map(|event| event.broken.clone()));
    broken.extend(done.broken.iter().cloned());
    broken.extend(world.lost(&done.acknowledged));
    let text = report::table(&events, &done);
    println!("{name}, seed {}:\n{text}", plan.seed);
    report::write(name, &plan, &events, &done, &broken);
    assert!(broken.is_empty(), "{broken:#?}\n{text}");
}
