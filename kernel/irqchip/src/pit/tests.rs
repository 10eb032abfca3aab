use super::*;

/// A time at which nothing is zero by accident.
const T0: u64 = 5_000_000_000;

fn program(pit: &mut Pit, channel: u16, mode: u8, count: u16, now: u64) {
    pit.write(0x43, (channel as u8) << 6 | 0x30 | mode << 1, now);
    pit.write(0x40 + channel, count as u8, now);
    pit.write(0x40 + channel, (count >> 8) as u8, now);
}

fn latched(pit: &mut Pit, channel: u16, now: u64) -> u16 {
    pit.write(0x43, (channel as u8) << 6, now);
    let low = pit.read(0x40 + channel, now);
    let high = pit.read(0x40 + channel, now);
    u16::from_le_bytes([low, high])
}

#[test]
fn ticks_and_nanoseconds_are_inverse() {
    for tick in [0, 1, 2, 59_659, PIT_HZ, PIT_HZ * 3600 * 24 * 365 + 7] {
        assert_eq!(ticks(nanos(tick)), tick);
        assert!(tick == 0 || ticks(nanos(tick) - 1) == tick - 1);
    }
}

/// How Linux calibrates the TSC: gate on, speaker off, channel 2 in mode 0
/// with a count of 50 ms, wait for bit 5.
#[test]
fn calibration_through_channel_2_takes_the_programmed_time() {
    let mut pit = Pit::new();
    let port = pit.read(0x61, T0);
    pit.write(0x61, port & !2 | 1, T0);
    let count = PIT_HZ / 20;
    program(&mut pit, 2, 0, count as u16, T0);
    assert_eq!(pit.read(0x61, T0) & 0x21, 0x01);
    let end = T0 + nanos(count);
    assert_eq!(pit.read(0x61, end - 1) & 0x20, 0);
    assert_eq!(pit.read(0x61, end) & 0x20, 0x20);
    assert!(50_000_000 - (end - T0) < nanos(1));
}

/// Linux's quick calibration reads the high byte as it falls, unlatched.
#[test]
fn quick_calibration_sees_the_high_byte_fall() {
    let mut pit = Pit::new();
    pit.write(0x61, 1, T0);
    program(&mut pit, 2, 0, 0xffff, T0);
    for high in (0xf0..=0xffu64).rev() {
        let now = T0 + nanos(0xffff - (high << 8 | 0x80));
        pit.read(0x42, now);
        assert_eq!(u64::from(pit.read(0x42, now)), high);
    }
}

#[test]
fn closed_gate_stops_mode_0_and_opening_resumes_it() {
    let mut pit = Pit::new();
    program(&mut pit, 2, 0, 1000, T0);
    assert_eq!(latched(&mut pit, 2, T0 + NANOS), 1000);
    pit.write(0x61, 1, T0);
    pit.write(0x61, 0, T0 + nanos(400));
    assert_eq!(latched(&mut pit, 2, T0 + NANOS), 600);
    pit.write(0x61, 1, T0 + NANOS);
    assert_eq!(latched(&mut pit, 2, T0 + NANOS + nanos(100)), 500);
    assert_eq!(pit.read(0x61, T0 + NANOS + nanos(600)) & 0x20, 0x20);
}

#[test]
fn rate_generator_fires_every_period_without_drift() {
    let mut pit = Pit::new();
    let count = 11_932;
    program(&mut pit, 0, 2, count, T0);
    for period in 1..=1000 {
        let at = pit.deadline().expect("periodic");
        assert_eq!(at, T0 + nanos(period * u64::from(count)));
        assert!(!pit.expire(at - 1));
        assert!(pit.expire(at));
        assert!(!pit.expire(at));
    }
}

#[test]
fn missed_periods_collapse_into_one() {
    let mut pit = Pit::new();
    program(&mut pit, 0, 3, 1000, T0);
    assert!(pit.expire(T0 + nanos(10_500)));
    assert_eq!(pit.deadline(), Some(T0 + nanos(11_000)));
}

#[test]
fn one_shot_fires_once() {
    let mut pit = Pit::new();
    program(&mut pit, 0, 0, 500, T0);
    assert_eq!(pit.deadline(), Some(T0 + nanos(500)));
    assert!(pit.expire(T0 + nanos(500)));
    assert_eq!(pit.deadline(), None);
    program(&mut pit, 0, 4, 500, T0);
    assert_eq!(pit.deadline(), Some(T0 + nanos(501)));
}

#[test]
fn control_word_alone_stops_channel_0() {
    let mut pit = Pit::new();
    program(&mut pit, 0, 2, 1000, T0);
    pit.write(0x43, 0x30, T0 + 1);
    assert_eq!(pit.deadline(), None);
    pit.write(0x40, 0, T0 + 2);
    assert_eq!(pit.deadline(), None);
    pit.write(0x40, 0, T0 + 2);
    assert_eq!(pit.deadline(), Some(T0 + 2 + nanos(0x1_0000)));
}

#[test]
fn counts_fall_as_the_mode_says() {
    let mut pit = Pit::new();
    program(&mut pit, 0, 2, 1000, T0);
    assert_eq!(latched(&mut pit, 0, T0 + nanos(1250)), 750);
    program(&mut pit, 0, 3, 1000, T0);
    assert_eq!(latched(&mut pit, 0, T0 + nanos(1250)), 500);
    program(&mut pit, 0, 0, 1000, T0);
    assert_eq!(latched(&mut pit, 0, T0 + nanos(1001)), 0xffff);
}

#[test]
fn latch_holds_until_read() {
    let mut pit = Pit::new();
    program(&mut pit, 0, 2, 1000, T0);
    pit.write(0x43, 0, T0 + nanos(10));
    pit.write(0x43, 0, T0 + nanos(20));
    let later = T0 + nanos(500);
    assert_eq!(pit.read(0x40, later), 990u16.to_le_bytes()[0]);
    assert_eq!(pit.read(0x40, later), 990u16.to_le_bytes()[1]);
    assert_eq!(pit.read(0x40, later), 500u16.to_le_bytes()[0]);
}

#[test]
fn read_back_gives_status_then_count() {
    let mut pit = Pit::new();
    program(&mut pit, 0, 2, 1000, T0);
    pit.write(0x43, 0xc2, T0 + nanos(100));
    assert_eq!(pit.read(0x40, T0), 0xb4);
    assert_eq!(pit.read(0x40, T0), 900u16.to_le_bytes()[0]);
    assert_eq!(pit.read(0x40, T0), 900u16.to_le_bytes()[1]);
    pit.write(0x43, 0x30, T0);
    pit.write(0x43, 0xe2, T0);
    assert_eq!(pit.read(0x40, T0), 0x70);
}

#[test]
fn single_byte_access_loads_one_byte() {
    let mut pit = Pit::new();
    pit.write(0x43, 0x14, T0);
    pit.write(0x40, 100, T0);
    assert_eq!(pit.deadline(), Some(T0 + nanos(100)));
    pit.write(0x43, 0x24, T0);
    pit.write(0x40, 1, T0);
    assert_eq!(pit.deadline(), Some(T0 + nanos(256)));
}

#[test]
fn bcd_counts_in_decimal() {
    let mut pit = Pit::new();
    pit.write(0x43, 0x31, T0);
    pit.write(0x40, 0x34, T0);
    pit.write(0x40, 0x12, T0);
    assert_eq!(pit.deadline(), Some(T0 + nanos(1234)));
    assert_eq!(latched(&mut pit, 0, T0 + nanos(10)), 0x1224);
}

#[test]
fn gate_triggers_mode_1() {
    let mut pit = Pit::new();
    program(&mut pit, 2, 1, 100, T0);
    assert_eq!(pit.read(0x61, T0 + NANOS) & 0x20, 0x20);
    pit.write(0x61, 1, T0 + NANOS);
    assert_eq!(pit.read(0x61, T0 + NANOS) & 0x20, 0);
    assert_eq!(pit.read(0x61, T0 + NANOS + nanos(100)) & 0x20, 0x20);
}

#[test]
fn system_port_keeps_its_bits_and_toggles_refresh() {
    let mut pit = Pit::new();
    pit.write(0x61, 0xff, T0);
    assert_eq!(pit.read(0x61, T0) & 3, 3);
    let bit = |pit: &mut Pit, now| pit.read(0x61, now) & 0x10;
    let first = bit(&mut pit, 0);
    assert_ne!(bit(&mut pit, REFRESH_NANOS), first);
    assert_eq!(bit(&mut pit, 2 * REFRESH_NANOS), first);
}

#[test]
fn state_restarts_counting_where_it_is_restored() {
    let mut pit = Pit::new();
    program(&mut pit, 0, 2, 1000, T0);
    program(&mut pit, 2, 3, 0, T0);
    pit.write(0x61, 3, T0);
    let state = pit.state();
    assert_eq!(state.channels[0].count, 1000);
    assert_eq!(state.channels[2].count, 0x1_0000);
    let mut other = Pit::new();
    other.set_state(&state, 77);
    assert_eq!(other.deadline(), Some(77 + nanos(1000)));
    let mut again = other.state();
    for (channel, original) in again.channels.iter_mut().zip(&state.channels) {
        channel.count_load_time = original.count_load_time;
    }
    assert_eq!(again, state);
}

#[test]
fn hpet_takes_channel_0_away() {
    let mut pit = Pit::new();
    program(&mut pit, 0, 2, 1000, T0);
    let mut state = pit.state();
    state.flags = PIT_FLAGS_HPET_LEGACY;
    pit.set_state(&state, T0);
    assert_eq!(pit.deadline(), None);
    assert!(!pit.expire(u64::MAX));
}
