//! Subscriptions that are stored come back; what is none is refused.

use mqtt_topic::{SharedFilter, SubscriptionIndex, TopicFilter};

#[test]
fn subscriptions_come_back() {
    let mut index = SubscriptionIndex::<u32, String>::default();
    let mut insert = |text: &str, key| {
        let filter = TopicFilter::new(text).unwrap();
        match filter.shared().unwrap() {
            Some(shared) => index.insert_shared(shared, key, text.to_owned()),
            None => index.insert(filter, key, text.to_owned()),
        }
        .unwrap();
    };
    for key in 0..5 {
        insert("a/+", key);
        insert("#", key);
        insert("$share/g/a/+", key);
        insert("/\u{E4}//", key);
    }
    let stored = serde_json::to_string(&index).unwrap();
    assert!(
        stored.contains(r#"[4,"g","a/+","$share/g/a/+"]"#),
        "{stored}"
    );
    let restored: SubscriptionIndex<u32, String> = serde_json::from_str(&stored).unwrap();
    assert_eq!(restored.len(), 20);
    assert_eq!(serde_json::to_string(&restored).unwrap(), stored);
    let shared = SharedFilter::new("$share/g/a/+").unwrap();
    assert_eq!(restored.group(shared).unwrap().len(), 5);
}

#[test]
fn what_is_no_subscription_is_refused() {
    let rows = [
        ("no filter", r#"[[1,null,"a/#/b",0]]"#, "'#'"),
        (
            "empty filter",
            r#"[[1,null,"",0]]"#,
            "at least one character",
        ),
        ("no group", r#"[[1,"","a",0]]"#, "group"),
        ("two levels", r#"[[1,"g/h","a",0]]"#, "more than one level"),
        ("no list", r#"{"a":1}"#, "a list of subscriptions"),
    ];
    for (name, text, expected) in rows {
        let error = serde_json::from_str::<SubscriptionIndex<u32, u32>>(text).unwrap_err();
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
    let deep = format!(r#"[[1,null,"{}a",0]]"#, "/".repeat(200));
    let error = serde_json::from_str::<SubscriptionIndex<u32, u32>>(&deep).unwrap_err();
    assert!(error.to_string().contains("levels"), "{error}");
}

/// A format that takes no more says so once, whatever comes behind.
#[test]
fn what_cannot_be_written_is_an_error() {
    /// Takes so many bytes.
    struct Full(usize);

    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            match taken {
                0 => Err(std::io::Error::other("no room")),
                _ => Ok(taken),
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let mut index = SubscriptionIndex::<u32, u32>::default();
    for key in 0..3 {
        let filter = TopicFilter::new("a/+").unwrap();
        index.insert(filter, key, 0).unwrap();
    }
    let len = serde_json::to_string(&index).unwrap().len();
    for bytes in 0..len {
        let error = serde_json::to_writer(Full(bytes), &index).unwrap_err();
        assert!(error.to_string().contains("no room"), "{bytes}: {error}");
    }
    serde_json::to_writer(Full(len), &index).unwrap();
}
