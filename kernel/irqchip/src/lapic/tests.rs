use super::*;
use crate::message::{Destination, Mode, Shorthand};
use crate::posted::{Events, Posted};
use abi::kvm_irqchip::LapicState;

const NOW: u64 = 1_000_000;

fn offset(slot: usize) -> u32 {
    (slot as u32) << 4
}

fn set(lapic: &mut Lapic, slot: usize, value: u32) -> Effect {
    lapic.write(offset(slot), value, || NOW)
}

fn get(lapic: &Lapic, slot: usize) -> u32 {
    lapic.read(offset(slot), || NOW)
}

fn lapic() -> Lapic {
    let mut lapic = Lapic::new(3, false);
    assert_eq!(set(&mut lapic, SPURIOUS, 0x1ff), Effect::None);
    lapic
}

fn message(effect: Effect) -> Message {
    match effect {
        Effect::Send(message) => message,
        other => panic!("expected a message, got {other:?}"),
    }
}

#[test]
fn registers_after_reset() {
    let lapic = Lapic::new(3, false);
    assert_eq!(get(&lapic, ID), 0x0300_0000);
    assert_eq!(get(&lapic, VERSION), 0x0005_0014);
    assert_eq!(get(&lapic, DFR), 0xffff_ffff);
    assert_eq!(get(&lapic, SPURIOUS), 0xff);
    for slot in LVT_TIMER..=LVT_ERROR {
        assert_eq!(get(&lapic, slot), LVT_MASKED);
    }
    assert_eq!(lapic.read(0x400, || NOW), 0);
    assert_eq!(lapic.read(0xffff_fff0, || NOW), 0);
    assert_eq!(lapic.page(), Some(0xfee0_0000));
}

#[test]
fn read_only_and_reserved_registers_ignore_writes() {
    let mut lapic = lapic();
    let before = lapic.state(NOW, false);
    for slot in [
        ID,
        VERSION,
        PPR,
        ISR,
        TMR + 7,
        IRR + 3,
        CURRENT_COUNT,
        0,
        0x3f,
        0x40,
        0xff,
    ] {
        assert_eq!(set(&mut lapic, slot, 0xffff_ffff), Effect::None);
    }
    assert_eq!(lapic.state(NOW, false), before);
}

#[test]
fn highest_vector_comes_first_and_nests() {
    let mut lapic = lapic();
    lapic.accept(0x41, false);
    lapic.accept(0xe1, false);
    assert_eq!(lapic.acknowledge(), Some(0xe1));
    assert_eq!(lapic.pending_vector(), None);
    assert_eq!(lapic.requested_vector(), Some(0x41));
    lapic.accept(0xe8, false);
    assert_eq!(lapic.pending_vector(), None);
    lapic.accept(0xf1, false);
    assert_eq!(lapic.acknowledge(), Some(0xf1));
    assert_eq!(get(&lapic, PPR), 0xf0);
    assert_eq!(set(&mut lapic, EOI, 0), Effect::None);
    assert_eq!(lapic.pending_vector(), None);
    assert_eq!(set(&mut lapic, EOI, 0), Effect::None);
    assert_eq!(lapic.acknowledge(), Some(0xe8));
    assert_eq!(set(&mut lapic, EOI, 0), Effect::None);
    assert_eq!(lapic.acknowledge(), Some(0x41));
    assert_eq!(set(&mut lapic, EOI, 0), Effect::None);
    assert_eq!(set(&mut lapic, EOI, 0), Effect::None);
    assert_eq!(get(&lapic, PPR), 0);
}

#[test]
fn request_and_service_registers_show_the_vector() {
    let mut lapic = lapic();
    lapic.accept(0x61, true);
    assert_eq!(get(&lapic, IRR + 3), 2);
    assert_eq!(get(&lapic, TMR + 3), 2);
    lapic.acknowledge();
    assert_eq!((get(&lapic, IRR + 3), get(&lapic, ISR + 3)), (0, 2));
    // The same vector can be requested again while it is in service.
    lapic.accept(0x61, false);
    assert_eq!((get(&lapic, IRR + 3), get(&lapic, TMR + 3)), (2, 0));
    assert_eq!(lapic.pending_vector(), None);
}

#[test]
fn task_priority_holds_back_its_class_and_below() {
    let mut lapic = lapic();
    lapic.accept(0x5f, false);
    assert_eq!(set(&mut lapic, TPR, 0x50), Effect::None);
    assert_eq!(get(&lapic, PPR), 0x50);
    assert_eq!(lapic.pending_vector(), None);
    lapic.set_tpr(0x4f);
    assert_eq!(lapic.pending_vector(), Some(0x5f));
    lapic.acknowledge();
    assert_eq!(get(&lapic, PPR), 0x50);
    lapic.set_tpr(0x57);
    assert_eq!(get(&lapic, PPR), 0x57);
}

#[test]
fn end_of_a_level_is_reported() {
    let mut lapic = lapic();
    lapic.accept(0x51, true);
    lapic.acknowledge();
    assert_eq!(set(&mut lapic, EOI, 0), Effect::EndOfInterrupt(0x51));
    lapic.accept(0x51, false);
    lapic.acknowledge();
    assert_eq!(set(&mut lapic, EOI, 0), Effect::None);
}

#[test]
fn self_ipi_stays_inside() {
    let mut lapic = lapic();
    assert_eq!(
        set(&mut lapic, ICR, 1 << 18 | 0x4_0000 | 0xf2),
        Effect::None
    );
    assert_eq!(lapic.acknowledge(), Some(0xf2));
    assert_eq!(set(&mut lapic, ICR_HIGH, 3 << 24), Effect::None);
    assert_eq!(set(&mut lapic, ICR, 0xf3), Effect::None);
    assert_eq!(get(&lapic, IRR + 7), 1 << 0x13);
}

#[test]
fn command_register_sends_what_it_says() {
    let mut lapic = lapic();
    assert_eq!(set(&mut lapic, ICR_HIGH, 0x0500_0000), Effect::None);
    let sent = message(set(&mut lapic, ICR, 0x0000_50fd));
    assert_eq!(sent.destination, Destination::narrow(5, false));
    assert_eq!(
        (sent.mode, sent.vector, sent.level),
        (Mode::Fixed, 0xfd, false)
    );
    assert_eq!(get(&lapic, ICR), 0x0000_40fd);
    let sent = message(set(&mut lapic, ICR, 0x0000_0941));
    assert!(sent.destination.logical);
    assert_eq!(sent.mode, Mode::LowestPriority);
    let sent = message(set(&mut lapic, ICR, 0x000c_00fc));
    assert_eq!(sent.destination.shorthand, Shorthand::AllButSelf);
    let sent = message(set(&mut lapic, ICR, 0x0008_0400));
    assert_eq!(
        (sent.destination.shorthand, sent.mode),
        (Shorthand::All, Mode::Nmi)
    );
}

/// The sequence with which Linux starts a processor.
#[test]
fn init_and_startup_are_sent_and_the_deassert_is_not() {
    let mut lapic = lapic();
    assert_eq!(set(&mut lapic, ICR_HIGH, 0x0100_0000), Effect::None);
    assert_eq!(message(set(&mut lapic, ICR, 0xc500)).mode, Mode::Init);
    assert_eq!(set(&mut lapic, ICR, 0x8500), Effect::None);
    let startup = message(set(&mut lapic, ICR, 0x69a));
    assert_eq!((startup.mode, startup.vector), (Mode::Startup, 0x9a));
}

#[test]
fn illegal_vectors_are_reported_in_esr() {
    let mut lapic = lapic();
    assert_eq!(set(&mut lapic, LVT_ERROR, 0xfe), Effect::None);
    assert_eq!(set(&mut lapic, ICR, 0x0000_000f), Effect::None);
    lapic.accept(3, false);
    assert_eq!(get(&lapic, ESR), 0);
    assert_eq!(set(&mut lapic, ESR, 0), Effect::None);
    assert_eq!(get(&lapic, ESR), 0x60);
    assert_eq!(lapic.pending_vector(), Some(0xfe));
    assert_eq!(set(&mut lapic, ESR, 0), Effect::None);
    assert_eq!(get(&lapic, ESR), 0);
}

#[test]
fn error_entry_with_an_illegal_vector_does_not_recurse() {
    let mut lapic = lapic();
    assert_eq!(set(&mut lapic, LVT_ERROR, 0x0f), Effect::None);
    lapic.accept(0, false);
    assert_eq!(lapic.pending_vector(), None);
}

#[test]
fn software_disable_masks_the_table_and_refuses_vectors_but_keeps_old_ones() {
    let mut lapic = lapic();
    assert_eq!(set(&mut lapic, LVT_LINT1, 0x400), Effect::None);
    lapic.accept(0x41, false);
    assert_eq!(set(&mut lapic, SPURIOUS, 0xff), Effect::Timer);
    assert_eq!(get(&lapic, LVT_LINT1), 0x1_0400);
    assert_eq!(set(&mut lapic, LVT_LINT1, 0x400), Effect::None);
    assert_eq!(get(&lapic, LVT_LINT1), 0x1_0400);
    lapic.accept(0x51, false);
    assert_eq!(lapic.pending_vector(), Some(0x41));
}

#[test]
fn lint0_as_virtual_wire() {
    let mut lapic = lapic();
    assert!(!lapic.accepts_extint());
    assert_eq!(set(&mut lapic, LVT_LINT0, 0x700), Effect::None);
    assert!(lapic.accepts_extint());
    assert_eq!(lapic.pulse(Pin::Lint0), LintEffect::ExtInt);
    assert_eq!(set(&mut lapic, LVT_LINT0, 0x1_0700), Effect::None);
    assert!(!lapic.accepts_extint());
    assert_eq!(lapic.pulse(Pin::Lint0), LintEffect::None);
    assert_eq!(set(&mut lapic, LVT_LINT0, 0x31), Effect::None);
    assert_eq!(lapic.pulse(Pin::Lint0), LintEffect::None);
    assert_eq!(lapic.pending_vector(), Some(0x31));
    assert!(Lapic::new(0, true).accepts_extint());
}

#[test]
fn lint1_is_the_nmi() {
    let mut lapic = lapic();
    assert_eq!(lapic.pulse(Pin::Lint1), LintEffect::None);
    assert_eq!(set(&mut lapic, LVT_LINT1, 0x400), Effect::None);
    assert_eq!(lapic.pulse(Pin::Lint1), LintEffect::Nmi);
}

#[test]
fn one_shot_timer() {
    let mut lapic = lapic();
    let _ = set(&mut lapic, LVT_TIMER, 0xec);
    let _ = set(&mut lapic, DIVIDE, 0x3);
    assert_eq!(set(&mut lapic, INITIAL_COUNT, 1000), Effect::Timer);
    let end = NOW + 16_000;
    assert_eq!(lapic.deadline(), Deadline::At(end));
    assert_eq!(lapic.read(offset(CURRENT_COUNT), || NOW + 8000), 500);
    assert!(!lapic.expire(end - 1));
    assert!(lapic.expire(end));
    assert_eq!(lapic.acknowledge(), Some(0xec));
    assert_eq!(lapic.deadline(), Deadline::Never);
    assert_eq!(lapic.read(offset(CURRENT_COUNT), || end), 0);
}

#[test]
fn divider_encodings() {
    let mut lapic = lapic();
    let _ = set(&mut lapic, LVT_TIMER, 0xec);
    for (encoding, divisor) in [
        (0, 2),
        (1, 4),
        (2, 8),
        (3, 16),
        (8, 32),
        (9, 64),
        (0xa, 128),
        (0xb, 1),
    ] {
        let _ = set(&mut lapic, DIVIDE, encoding);
        let _ = set(&mut lapic, INITIAL_COUNT, 10);
        assert_eq!(lapic.deadline(), Deadline::At(NOW + 10 * divisor));
    }
}

#[test]
fn periodic_timer_keeps_its_phase() {
    let mut lapic = lapic();
    let _ = set(&mut lapic, LVT_TIMER, 1 << 17 | 0xec);
    let _ = set(&mut lapic, DIVIDE, 0xb);
    let _ = set(&mut lapic, INITIAL_COUNT, 1000);
    assert!(lapic.expire(NOW + 1001));
    assert_eq!(lapic.deadline(), Deadline::At(NOW + 2000));
    assert!(lapic.expire(NOW + 7500));
    assert_eq!(lapic.deadline(), Deadline::At(NOW + 8000));
    assert_eq!(lapic.read(offset(CURRENT_COUNT), || NOW + 8300), 700);
    assert_eq!(set(&mut lapic, INITIAL_COUNT, 0), Effect::Timer);
    assert_eq!(lapic.deadline(), Deadline::Never);
}

/// A new divider lets the count go on from where it is.
#[test]
fn divider_change_keeps_the_count() {
    let mut lapic = lapic();
    let _ = set(&mut lapic, LVT_TIMER, 0xec);
    let _ = set(&mut lapic, DIVIDE, 0xb);
    let _ = set(&mut lapic, INITIAL_COUNT, 1000);
    let _ = lapic.write(offset(DIVIDE), 0, || NOW + 400);
    assert_eq!(lapic.deadline(), Deadline::At(NOW + 400 + 1200));
}

/// Linux calibrates with a masked timer and reads the current count.
#[test]
fn masked_timer_counts_but_does_not_fire() {
    let mut lapic = lapic();
    let _ = set(&mut lapic, LVT_TIMER, LVT_MASKED | 1 << 17 | 0xec);
    let _ = set(&mut lapic, DIVIDE, 0xb);
    let _ = set(&mut lapic, INITIAL_COUNT, 1000);
    assert_eq!(lapic.deadline(), Deadline::Never);
    assert_eq!(lapic.read(offset(CURRENT_COUNT), || NOW + 5400), 600);
    assert!(!lapic.expire(NOW + 5400));
    let _ = lapic.write(offset(LVT_TIMER), 1 << 17 | 0xec, || NOW + 9500);
    assert_eq!(lapic.deadline(), Deadline::At(NOW + 10_000));
    assert_eq!(lapic.pending_vector(), None);
}

#[test]
fn tsc_deadline_only_if_offered() {
    let mut lapic = lapic();
    let _ = set(&mut lapic, LVT_TIMER, LVT_TSC_DEADLINE | 0xec);
    assert_eq!(get(&lapic, LVT_TIMER), 0xec);
    assert_eq!(lapic.set_tsc_deadline(5), Effect::None);
    lapic.offer(false, true);
    let _ = set(&mut lapic, LVT_TIMER, LVT_TSC_DEADLINE | 0xec);
    assert_eq!(lapic.set_tsc_deadline(5000), Effect::Timer);
    assert_eq!(lapic.deadline(), Deadline::Tsc(5000));
    assert_eq!(set(&mut lapic, INITIAL_COUNT, 7), Effect::None);
    assert!(!lapic.expire_tsc(4999));
    assert!(lapic.expire_tsc(5000));
    assert_eq!(
        (lapic.tsc_deadline(), lapic.deadline()),
        (0, Deadline::Never)
    );
    assert_eq!(lapic.acknowledge(), Some(0xec));
}

#[test]
fn reads_call_the_clock_only_for_the_count() {
    let lapic = lapic();
    for slot in 0..64 {
        if slot != CURRENT_COUNT {
            lapic.read(offset(slot), || panic!("register {slot:#x} needs no clock"));
        }
    }
}

#[test]
fn posted_vectors_reach_the_request_register() {
    let (mut lapic, posted) = (lapic(), Posted::new());
    assert!(lapic.take_posted(&posted).is_empty());
    for (vector, level) in [(0x31, false), (0x75, true), (0xff, false)] {
        let _ = posted.post_vector(vector, level);
    }
    assert!(lapic.take_posted(&posted).contains(Events::VECTORS));
    assert_eq!(lapic.acknowledge(), Some(0xff));
    assert_eq!(set(&mut lapic, EOI, 0), Effect::None);
    assert_eq!(lapic.acknowledge(), Some(0x75));
    assert_eq!(set(&mut lapic, EOI, 0), Effect::EndOfInterrupt(0x75));
    assert_eq!(lapic.acknowledge(), Some(0x31));
}

#[test]
fn posted_illegal_vector_and_disabled_lapic() {
    let (mut lapic, posted) = (Lapic::new(0, false), Posted::new());
    let _ = posted.post_vector(0x40, false);
    lapic.take_posted(&posted);
    assert_eq!(lapic.requested_vector(), None);
    let _ = set(&mut lapic, SPURIOUS, 0x1ff);
    let _ = posted.post_vector(2, false);
    lapic.take_posted(&posted);
    assert_eq!(lapic.requested_vector(), None);
    let _ = set(&mut lapic, ESR, 0);
    assert_eq!(get(&lapic, ESR), ESR_RECEIVE_ILLEGAL_VECTOR);
}

#[test]
fn logical_identity_changes_are_reported_once() {
    let mut lapic = lapic();
    assert_eq!(lapic.identity().model, Model::Flat);
    assert_eq!(set(&mut lapic, LDR, 0x0412_3456), Effect::Identity);
    assert_eq!(set(&mut lapic, LDR, 0x0400_0000), Effect::None);
    assert_eq!(get(&lapic, LDR), 0x0400_0000);
    assert_eq!(set(&mut lapic, DFR, 0), Effect::Identity);
    assert_eq!(get(&lapic, DFR), 0x0fff_ffff);
    assert_eq!(lapic.identity().model, Model::Cluster);
}

#[test]
fn mode_changes_that_the_manual_forbids_fault() {
    const ON: u64 = 0xfee0_0800;
    let mut lapic = Lapic::new(0x25, false);
    assert_eq!(lapic.set_base(ON | 0x400), Err(InvalidAccess));
    lapic.offer(true, false);
    assert_eq!(lapic.set_base(ON | 0x400), Ok(Effect::Identity));
    assert_eq!(lapic.page(), None);
    assert_eq!(lapic.set_base(ON), Err(InvalidAccess));
    assert_eq!(lapic.set_base(0xfee0_0400), Err(InvalidAccess));
    assert_eq!(lapic.set_base(0xfee0_0000), Ok(Effect::Identity));
    assert_eq!(lapic.set_base(ON | 0x400), Err(InvalidAccess));
    assert_eq!(lapic.set_base(ON), Ok(Effect::Identity));
    assert_eq!(lapic.set_base(ON | 1), Err(InvalidAccess));
    assert_eq!(lapic.set_base(1 << 60 | ON), Err(InvalidAccess));
}

fn x2apic() -> Lapic {
    let mut lapic = Lapic::new(0x25, false);
    lapic.offer(true, false);
    let _ = set(&mut lapic, SPURIOUS, 0x1ff);
    let _ = lapic.set_base(0xfee0_0c00).expect("offered");
    lapic
}

#[test]
fn x2apic_registers_are_msrs() {
    let mut lapic = x2apic();
    let read = |lapic: &Lapic, msr| lapic.read_msr(msr, || NOW);
    assert_eq!(read(&lapic, 0x802), Ok(0x25));
    assert_eq!(read(&lapic, 0x80d), Ok(0x2_0020));
    assert_eq!(read(&lapic, 0x80f), Ok(0x1ff));
    for msr in [0x800, 0x80b, 0x80e, 0x831, 0x83f, 0x840, 0x8ff, 0x7ff] {
        assert_eq!(read(&lapic, msr), Err(InvalidAccess), "{msr:#x}");
    }
    for (msr, value) in [
        (0x802, 0),
        (0x80b, 1),
        (0x828, 1),
        (0x808, 0x100),
        (0x832, 1 << 32),
    ] {
        assert_eq!(
            lapic.write_msr(msr, value, || NOW),
            Err(InvalidAccess),
            "{msr:#x}"
        );
    }
    assert_eq!(lapic.write_msr(0x808, 0x20, || NOW), Ok(Effect::None));
    assert_eq!(lapic.tpr(), 0x20);
    assert_eq!(
        Lapic::new(0, false).read_msr(0x802, || NOW),
        Err(InvalidAccess)
    );
}

#[test]
fn x2apic_command_is_one_write() {
    let mut lapic = x2apic();
    let effect = lapic.write_msr(0x830, 0x0000_0026_0000_00fd, || NOW);
    let sent = message(effect.expect("valid"));
    assert_eq!(sent.destination, Destination::wide(0x26, false));
    assert_eq!(lapic.read_msr(0x830, || NOW), Ok(0x0000_0026_0000_00fd));
    assert_eq!(
        lapic.write_msr(0x830, 0x25_0000_0041, || NOW),
        Ok(Effect::None)
    );
    assert_eq!(lapic.acknowledge(), Some(0x41));
    assert_eq!(lapic.write_msr(0x80b, 0, || NOW), Ok(Effect::None));
    assert_eq!(lapic.write_msr(0x83f, 0x51, || NOW), Ok(Effect::None));
    assert_eq!(lapic.acknowledge(), Some(0x51));
}

#[test]
fn state_has_registers_where_the_page_has_them() {
    let mut lapic = lapic();
    let _ = set(&mut lapic, LVT_LINT0, 0x700);
    lapic.accept(0x95, false);
    let state = lapic.state(NOW, false);
    assert_eq!(state.regs[0x23], 3);
    assert_eq!(state.regs[0x351], 7);
    assert_eq!(state.regs[0x242], 0x20);
}

#[test]
fn state_survives_the_round_trip_and_the_timer_goes_on() {
    let mut lapic = lapic();
    let _ = set(&mut lapic, LVT_TIMER, 1 << 17 | 0xec);
    let _ = set(&mut lapic, DIVIDE, 0xb);
    let _ = set(&mut lapic, INITIAL_COUNT, 1000);
    let _ = set(&mut lapic, TPR, 0x20);
    lapic.accept(0x61, true);
    lapic.acknowledge();
    lapic.accept(0x71, false);
    let state = lapic.state(NOW + 300, false);
    let mut other = Lapic::new(9, false);
    other.set_state(&state, 50);
    assert_eq!(other.state(50, false), state);
    assert_eq!(other.deadline(), Deadline::At(50 + 700));
    assert_eq!(other.identity().id, 3);
    assert_eq!(other.acknowledge(), Some(0x71));
    let _ = set(&mut other, EOI, 0);
    assert_eq!(set(&mut other, EOI, 0), Effect::EndOfInterrupt(0x61));
}

#[test]
fn expired_one_shot_does_not_start_again_when_restored() {
    let mut lapic = lapic();
    let _ = set(&mut lapic, LVT_TIMER, 0xec);
    let _ = set(&mut lapic, INITIAL_COUNT, 1000);
    assert!(lapic.expire(NOW + 2000));
    let state = lapic.state(NOW + 3000, false);
    lapic.set_state(&state, NOW + 3000);
    assert_eq!(lapic.deadline(), Deadline::Never);
}

#[test]
fn x2apic_id_is_saved_in_either_format() {
    let lapic = x2apic();
    assert_eq!(lapic.state(NOW, true).regs[0x20], 0x25);
    assert_eq!(lapic.state(NOW, false).regs[0x23], 0x25);
    let mut other = x2apic();
    other.set_state(&LapicState::default(), NOW);
    assert_eq!(other.read_msr(0x802, || NOW), Ok(0x25));
}

#[test]
fn reset_keeps_id_and_base() {
    let mut lapic = x2apic();
    lapic.accept(0x41, false);
    lapic.reset();
    assert_eq!(lapic.requested_vector(), None);
    assert_eq!(lapic.read_msr(0x802, || NOW), Ok(0x25));
    assert_eq!(lapic.read_msr(0x80d, || NOW), Ok(0x2_0020));
    assert!(!lapic.is_software_enabled());
}
