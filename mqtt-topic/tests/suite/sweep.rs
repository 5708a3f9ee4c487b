//! Letting retained messages expire in passing.

use std::collections::BTreeSet;

use mqtt_topic::{QueryProgress, RetainedIndex, Sweep, TopicName};

#[test]
fn a_sweep_looks_at_each_topic_once_and_removes_what_has_expired() {
    let mut index = RetainedIndex::default();
    for number in 0..1_000_u32 {
        let topic = format!("a/{}/{number}", number % 10);
        index
            .set(TopicName::new(&topic).unwrap(), number, 1)
            .unwrap();
    }
    let (mut sweep, mut looked_at, mut calls) = (Sweep::default(), Vec::new(), 0);
    loop {
        let before = looked_at.len();
        let progress = index.sweep(&mut sweep, 7, |number| {
            looked_at.push(*number);
            number % 3 == 0
        });
        assert!(looked_at.len() - before <= 7, "the budget");
        calls += 1;
        if progress == QueryProgress::Done {
            break;
        }
    }
    assert!(calls > 100, "{calls}");
    let once: BTreeSet<_> = looked_at.iter().collect();
    assert_eq!((once.len(), looked_at.len()), (1_000, 1_000));
    assert_eq!(index.len(), 666);
    assert_eq!(index.get(TopicName::new("a/3/33").unwrap()), None);
    assert_eq!(index.get(TopicName::new("a/4/34").unwrap()), Some(&34));

    // Begins anew, and can take away everything.
    while index.sweep(&mut sweep, 100, |_| true) == QueryProgress::More {}
    assert_eq!((index.len(), index.bytes(), index.nodes_len()), (0, 0, 1));
}
