//! Lets requests through by the roles of who sends them.

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::listener::Guest;
use super::{Live, Peer, Role};
use crate::call::{Fault, TRUST, to_body};

#[derive(Clone)]
struct Gate {
    live: Live,
    roles: &'static [Role],
    /// The agents of this very machine come in too, whatever their roles.
    neighbours: bool,
}

/// `router`, all of it, for peers in one of `roles` alone. They find who they talk to as an extension,
/// [`Peer`].
pub fn only(router: Router, live: &Live, roles: &'static [Role]) -> Router {
    guarded(router, Gate { live: live.clone(), roles, neighbours: false })
}

/// As [`only`], and for who shows a certificate of this very machine.
pub fn only_or_neighbours(router: Router, live: &Live, roles: &'static [Role]) -> Router {
    guarded(router, Gate { live: live.clone(), roles, neighbours: true })
}

/// The routes of `router`, which has no fallback, for peers in one of `roles` alone.
pub fn demand(router: Router, live: &Live, roles: &'static [Role]) -> Router {
    let gate = Gate { live: live.clone(), roles, neighbours: false };
    router.route_layer(middleware::from_fn_with_state(gate, check))
}

fn guarded(router: Router, gate: Gate) -> Router {
    router.layer(middleware::from_fn_with_state(gate, check))
}

async fn check(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let guest = request.extensions().get::<ConnectInfo<Guest>>();
    match gate.judge(guest.and_then(|guest| guest.0.peer.as_ref())) {
        Ok(peer) => {
            let trust = request.headers().get(TRUST).and_then(|trust| trust.to_str().ok());
            if let Some(trust) = trust.filter(|_| peer.is_any(&[Role::Controller])) {
                gate.live.hear_of(trust);
            }
            request.extensions_mut().insert(peer);
            next.run(request).await
        }
        Err(why) => {
            let path = request.uri().path();
            let address = request.extensions().get::<ConnectInfo<Guest>>().map(|guest| guest.0.address);
            tracing::warn!(?address, path, why, "a request was refused");
            refusal(&why)
        }
    }
}

impl Gate {
    fn judge(&self, peer: Option<&Peer>) -> Result<Peer, String> {
        let Some(peer) = peer else { return Err("show a certificate: enrol this machine first".into()) };
        // Connections outlive revocations.
        if self.live.current().is_revoked(peer.machine) {
            return Err(format!("machine {} is revoked", peer.machine));
        }
        let neighbour = self.neighbours && peer.machine == self.live.current().me().machine;
        match neighbour || peer.is_any(self.roles) {
            true => Ok(peer.clone()),
            false => Err(format!("machine {} has no role that may do this", peer.machine)),
        }
    }
}

fn refusal(why: &str) -> Response {
    let body = to_body::<()>(&Err(Fault::new(why))).to_string();
    (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
