//! Row 3: what an agent takes while nothing happens, and after many commands.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::command::{self, ACT, LOOK, Null, aim};
use super::ground::{Ground, build, program};
use super::load::{Limit, load};
use super::peer;
use super::subject::{Memory, free_address, memory, processor_time};
use super::table::{Gate, Line, Report, Unit};

/// The agent has asked libvirt and KVM by then, and has given back what that took.
const SETTLE: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(10);
/// Of each kind of command.
const COMMANDS: usize = 50_000;
const LANES: usize = 32;

struct Idle {
    memory: Memory,
    /// Of one processor.
    percent: f64,
}

pub async fn measure(ground: &Ground) -> Result<Report> {
    command::build_all()?;
    build(&["-p", "cumulet-kvm-agent"])?;
    let mut report = Report::default();
    let peer = match peer::start(ground).await {
        Ok(peer) => Some(peer),
        Err(error) => {
            report.notes.push(format!("row 3: {error:#}"));
            None
        }
    };
    ground.progress.stage("row 3: an idle kvm-agent");
    let ours = kvm_agent(ground).await?;
    let floor = Null::start(ground, "floor_command", ground.state("row3-floor")?).await?;
    let floor_idle = memory(floor.process.pid())?;
    let peer = peer.map(|peer| memory(peer.process.pid())).transpose()?;
    ground.progress.stage("row 3: a null agent after 100,000 commands");
    let after = null_agent(ground).await?;
    run(&floor, COMMANDS).await?;
    let floor_after = memory(floor.process.pid())?;
    report.lines = lines([ours.memory, after], ours.percent, [floor_idle, floor_after], peer);
    report.notes.push(format!(
        "row 3: of the kvm-agent's memory {:.1} MB is anonymous, of the null agent's {:.1} MB",
        ours.memory.anonymous, after.anonymous
    ));
    Ok(report)
}

fn lines([idle, after]: [Memory; 2], percent: f64, floor: [Memory; 2], peer: Option<Memory>) -> Vec<Line> {
    let resident = |memory: Memory| Unit::Megabytes.of(memory.resident);
    let [floor_idle, floor_after] = floor.map(resident);
    vec![
        Line::new(3, "kvm-agent idle, RSS", resident(idle))
            .floor(floor_idle)
            .peer(peer.map(resident))
            .gate(Gate::AtMost(15.0)),
        Line::new(3, "kvm-agent idle, CPU", Unit::Percent.of(percent)),
        Line::new(3, "null agent after 100k commands, RSS", resident(after))
            .floor(floor_after)
            .gate(Gate::AtMost(30.0)),
    ]
}

async fn kvm_agent(ground: &Ground) -> Result<Idle> {
    let address = free_address()?;
    let state = ground.state("row3-kvm-agent")?;
    let args = ["--plain-listen", &address.to_string(), "--libvirt-uri", "test:///default", "--state-dir"]
        .map(Into::into)
        .into_iter()
        .chain([state.into_os_string()]);
    let agent = ground.start("kvm-agent.log", &program("cumulet-kvm-agent"), args, address).await?;
    sleep(SETTLE).await;
    let before = processor_time(agent.pid())?;
    sleep(IDLE).await;
    let used = processor_time(agent.pid())? - before;
    Ok(Idle { memory: memory(agent.pid())?, percent: 100.0 * used.as_secs_f64() / IDLE.as_secs_f64() })
}

async fn null_agent(ground: &Ground) -> Result<Memory> {
    let agent = Null::start(ground, "null_agent", ground.state("row3-null-agent")?).await?;
    run(&agent, COMMANDS).await?;
    memory(agent.process.pid())
}

/// This many of each kind.
async fn run(agent: &Null, commands: usize) -> Result<()> {
    for path in [LOOK, ACT] {
        load(&aim(agent.address, path, false), LANES, Limit::trips(commands)).await?;
    }
    Ok(())
}
