use super::*;
use crate::config::Config;

fn id(text: &str) -> ImageId {
    text.parse().unwrap()
}

fn order() -> Order {
    let limit = std::time::Duration::from_secs(60);
    Order { source: Source::File("/x".into()), digest: "d".into(), format: None, limit }
}

fn lab() -> (tempfile::TempDir, Store, Imports) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("aaaa", dir.path(), true).unwrap();
    (dir, store, Imports::new(Config::default().imports()))
}

#[tokio::test]
async fn a_sweep_removes_what_nobody_continues_and_nothing_else() {
    let (_dir, store, imports) = lab();
    let (left, continued) = (id("1111"), id("2222"));
    for id in [&left, &continued] {
        store.arrive(id, &Resume::default()).unwrap();
    }
    let Claim::Ours(ticket) = imports.claims.seize(&continued) else { panic!("nobody else is here") };
    imports.sweep(&store).await;
    assert_eq!(store.arriving().unwrap(), std::slice::from_ref(&continued));
    drop(ticket);
    imports.sweep(&store).await;
    assert_eq!(store.arriving().unwrap(), []);
}

#[tokio::test]
async fn what_must_be_alone_ends_an_import_and_keeps_the_next_waiting() {
    let (_dir, _store, imports) = lab();
    let image = id("1111");
    let claim = || imports.claims.claim(&image, Running::new(&order(), mpsc::channel(1).0)).unwrap();
    let Claim::Ours(ticket) = claim() else { panic!("nobody else is here") };
    let cancel = ticket.running().cancel.clone();
    let import = async move {
        cancel.cancelled().await;
        drop(ticket);
    };
    let alone = imports.without(&image, async { matches!(claim(), Claim::Theirs(_)) });
    let ((), waits) = tokio::join!(import, alone);
    assert!(waits);
    assert!(matches!(claim(), Claim::Ours(_)));
}
