//! Topics of a plant, and who wants them.

use crate::random::Random;

const BUILDINGS: usize = 10;
const ROOMS: usize = 20;
const SENSORS: usize = 50;

/// Single pairs of a filter and a name: what the pair shows, the filter, the name.
pub const PAIRS: [(&str, &str, &str); 16] = [
    (
        "exact",
        "site/7/building/3/room/12/sensor/41",
        "site/7/building/3/room/12/sensor/41",
    ),
    ("exact_short", "a/b", "a/b"),
    (
        "other_early",
        "plant/7/building/3/room/12/sensor/41",
        "site/7/building/3/room/12/sensor/41",
    ),
    (
        "other_late",
        "site/7/building/3/room/12/sensor/42",
        "site/7/building/3/room/12/sensor/41",
    ),
    (
        "longer",
        "site/7/building/3/room/12/sensor/41/raw",
        "site/7/building/3/room/12/sensor/41",
    ),
    (
        "shorter",
        "site/7/building/3/room/12",
        "site/7/building/3/room/12/sensor/41",
    ),
    (
        "plus",
        "site/7/building/+/room/12/sensor/41",
        "site/7/building/3/room/12/sensor/41",
    ),
    (
        "plus_first",
        "+/7/building/3/room/12/sensor/41",
        "site/7/building/3/room/12/sensor/41",
    ),
    (
        "plus_last",
        "site/7/building/3/room/12/sensor/+",
        "site/7/building/3/room/12/sensor/41",
    ),
    (
        "all_plus",
        "+/+/+/+/+/+/+/+",
        "site/7/building/3/room/12/sensor/41",
    ),
    ("hash", "site/7/#", "site/7/building/3/room/12/sensor/41"),
    ("hash_alone", "#", "site/7/building/3/room/12/sensor/41"),
    ("hash_parent", "site/7/#", "site/7"),
    ("deep", "a/b/c/d/e/f/g/h/i/j/k/l", "a/b/c/d/e/f/g/h/i/j/k/l"),
    (
        "deep_plus",
        "a/+/c/d/e/+/g/h/i/j/+/l",
        "a/b/c/d/e/f/g/h/i/j/k/l",
    ),
    ("dollar", "#", "$SYS/broker/load"),
];

/// The place of one sensor; `index` is its number in the whole plant.
fn levels(index: usize) -> [usize; 4] {
    let (room, sensor) = (index / SENSORS, index % SENSORS);
    let (building, room) = (room / ROOMS, room % ROOMS);
    [building / BUILDINGS, building % BUILDINGS, room, sensor]
}

fn topic(levels: [&str; 4]) -> String {
    let [site, building, room, sensor] = levels;
    format!("site/{site}/building/{building}/room/{room}/sensor/{sensor}")
}

/// The first `len` topics of the plant, one for each sensor.
#[must_use]
pub fn names(len: usize) -> Vec<String> {
    let name = |index| {
        let [site, building, room, sensor] = levels(index).map(|level| level.to_string());
        topic([&site, &building, &room, &sensor])
    };
    (0..len).map(name).collect()
}

/// `len` filters over the first `len` topics, 10,000 of them at least: 60 % are exact, 30 % have
/// one `+`, 10 % end with `#`.
#[must_use]
pub fn subscriptions(len: usize) -> Vec<String> {
    let mut random = Random::new(0x5EED);
    let sensors = len.max(BUILDINGS * ROOMS * SENSORS);
    let filter = |_| {
        let mut levels = levels(random.below(sensors)).map(|level| level.to_string());
        let kind = random.below(10);
        let place = random.below(levels.len());
        if (6..9).contains(&kind)
            && let Some(level) = levels.get_mut(place)
        {
            "+".clone_into(level);
        }
        let [site, building, room, sensor] = &levels;
        match (kind, place % 2) {
            (9, 0) => format!("site/{site}/building/{building}/room/{room}/#"),
            (9, _) => format!("site/{site}/building/{building}/#"),
            _ => topic([site, building, room, sensor]),
        }
    };
    (0..len).map(filter).collect()
}
