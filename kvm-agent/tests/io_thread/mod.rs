//! Threads that do the input and output of a running VM's disks.

use serde_json::json;

use super::devices::{VM, live_xml, nano, prepared, refusal};
use super::lab::alone;

#[test]
fn an_io_thread_is_made_kept_on_its_cpus_and_taken_away() {
    alone("io_thread::an_io_thread_is_made_kept_on_its_cpus_and_taken_away", async || {
        let lab = prepared().await;
        nano(&lab, json!({})).await;
        lab.done("/vm/console/harden", json!({ "vmUuid": VM })).await;
        lab.done("/vm/console/deletefirewall", json!({ "vmUuid": VM })).await;
        let pin = json!({ "vmUuid": VM, "ioThreadId": 3, "pin": "0" });
        for _ in 0..2 {
            lab.done("/vm/setiothreadpin", pin.clone()).await;
            assert!(live_xml().contains("<iothreadpin iothread='3' cpuset='0'/>"), "{}", live_xml());
        }
        let threads = lab.done("/vm/getiothreadpin", json!({ "vmUuid": VM })).await;
        assert_eq!(threads["ioThreadInfo"], json!([{ "ioThreadId": 3, "pin": "0" }]));
        let odd = json!({ "vmUuid": VM, "ioThreadId": 3, "pin": "all" });
        assert!(refusal(&lab, "/vm/setiothreadpin", odd).await.starts_with("pin: "));
        for _ in 0..2 {
            lab.done("/vm/deliothreadpin", pin.clone()).await;
            assert!(!live_xml().contains("iothreadpin"));
        }
    });
}
