//! What is demanded of portero's stops.

use crate::applications::{Application, Drains};
use crate::stop::{Pid1, Stopped};

/// What of the bar the stops of an application miss.
pub fn missed(application: &Application, all: &[(Pid1, Stopped)]) -> Vec<String> {
    let others = all.iter().filter(|(init, _)| !init.is_portero());
    let best = others.map(|(_, stopped)| stopped.loss(application)).min();
    let best = best.unwrap_or(application.under_way());
    all.iter()
        .filter_map(|(init, stopped)| miss(application, *init, stopped, best))
        .collect()
}

fn miss(application: &Application, init: Pid1, stopped: &Stopped, best: usize) -> Option<String> {
    let allowed = match (init, application.drains) {
        (Pid1::WithLine, _) | (Pid1::Portero, Drains::ByItself) => 0,
        (Pid1::Portero, Drains::WithLine) => best,
        (Pid1::Portero, Drains::ShellWaits) if !stopped.said.contains("--signal-group") => {
            return Some(format!("{}: no warning: {stopped:?}", application.name));
        }
        _ => return None,
    };
    (stopped.loss(application) > allowed).then(|| {
        let (name, init) = (application.name, init.name());
        format!("{name}: {init} may cut {allowed}: {stopped:?}")
    })
}
