//! Whatever a guest or a monitor writes: no panic, and what the caches say is
//! what the registers say.

use abi::kvm_irqchip::{IoapicState, LapicState, PicState, PitChannelState, PitState2};
use irqchip::{Effect, Ioapic, Lapic, Message, Mode, Pic, Pin, PinMask, Pit, Posted};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum LapicOp {
    Write(u32, u32),
    WriteMsr(u32, u64),
    SetBase(u64),
    Accept(u8, bool),
    Post(u8, bool),
    Acknowledge,
    Expire(u32),
    TscDeadline(u64),
    Pulse(bool),
    Reset,
    SetState(Vec<u32>),
}

fn register() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => prop::sample::select(vec![0x80, 0xb0, 0xf0, 0x300, 0x310, 0x320, 0x350, 0x380, 0x3e0]),
        2 => (0u32..0x40).prop_map(|slot| slot << 4),
        1 => any::<u32>(),
    ]
}

fn value() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        0u32..0x200,
        (0u32..256).prop_map(|v| 1 << 18 | v),
        prop::bits::u32::masked(0x000f_cfff),
    ]
}

fn lapic_op() -> impl Strategy<Value = LapicOp> {
    prop_oneof![
        6 => (register(), value()).prop_map(|(r, v)| LapicOp::Write(r, v)),
        2 => (0x7f0u32..0x850, prop_oneof![value().prop_map(u64::from), any::<u64>()])
            .prop_map(|(m, v)| LapicOp::WriteMsr(m, v)),
        1 => prop_oneof![any::<u64>(), (0u64..16).prop_map(|m| 0xfee0_0000 | m << 8)]
            .prop_map(LapicOp::SetBase),
        4 => any::<(u8, bool)>().prop_map(|(v, l)| LapicOp::Accept(v, l)),
        4 => any::<(u8, bool)>().prop_map(|(v, l)| LapicOp::Post(v, l)),
        4 => Just(LapicOp::Acknowledge),
        2 => any::<u32>().prop_map(LapicOp::Expire),
        1 => any::<u64>().prop_map(LapicOp::TscDeadline),
        1 => any::<bool>().prop_map(LapicOp::Pulse),
        1 => Just(LapicOp::Reset),
        1 => prop::collection::vec(any::<u32>(), 64).prop_map(LapicOp::SetState),
    ]
}

/// The highest bit of the eight registers from `offset`.
fn highest(lapic: &Lapic, offset: u32) -> Option<u8> {
    (0..=255u8).rev().find(|&vector| {
        let word = lapic.read(offset + u32::from(vector / 32) * 16, || 0);
        word >> (vector % 32) & 1 != 0
    })
}

fn check_lapic(lapic: &Lapic) -> Result<(), TestCaseError> {
    let irr = highest(lapic, 0x200);
    let isr = highest(lapic, 0x100).unwrap_or(0);
    let tpr = lapic.tpr();
    let ppr = if tpr >> 4 >= isr >> 4 {
        tpr
    } else {
        isr & 0xf0
    };
    prop_assert_eq!(lapic.read(0xa0, || 0), u32::from(ppr));
    prop_assert_eq!(lapic.requested_vector(), irr);
    let pending = irr.filter(|vector| vector >> 4 > ppr >> 4);
    prop_assert_eq!(lapic.pending_vector(), pending);
    prop_assert_eq!(lapic.read(0x200, || 0) & 0xffff, 0);
    Ok(())
}

fn apply(lapic: &mut Lapic, posted: &Posted, now: u64, op: &LapicOp) {
    match *op {
        LapicOp::Write(offset, value) => {
            let effect = lapic.write(offset, value, || now);
            if let Effect::Send(message) = effect {
                let _ = posted.deliver(&message);
            }
        }
        LapicOp::WriteMsr(msr, value) => {
            let _ = lapic.read_msr(msr, || now);
            let _ = lapic.write_msr(msr, value, || now);
        }
        LapicOp::SetBase(value) => {
            let _ = lapic.set_base(value);
        }
        LapicOp::Accept(vector, level) => lapic.accept(vector, level),
        LapicOp::Post(vector, level) => {
            let _ = posted.post_vector(vector, level);
            lapic.take_posted(posted);
        }
        LapicOp::Acknowledge => {
            lapic.acknowledge();
        }
        LapicOp::Expire(_) => {
            lapic.expire(now);
            lapic.expire_tsc(now);
        }
        LapicOp::TscDeadline(tsc) => {
            let _ = lapic.set_tsc_deadline(tsc);
        }
        LapicOp::Pulse(one) => {
            let _ = lapic.pulse(if one { Pin::Lint1 } else { Pin::Lint0 });
        }
        LapicOp::Reset => lapic.reset(),
        LapicOp::SetState(ref page) => {
            let mut state = LapicState::default();
            for (bytes, word) in state.regs.chunks_exact_mut(16).zip(page) {
                bytes[..4].copy_from_slice(&word.to_le_bytes());
            }
            lapic.set_state(&state, now);
        }
    }
}

fn entry() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), prop::bits::u64::masked(0xff00_0000_0000_80ff)]
}

fn channel() -> impl Strategy<Value = PitChannelState> {
    (any::<[u32; 2]>(), any::<[u8; 10]>(), 0u8..7).prop_map(|(words, bytes, mode)| {
        PitChannelState {
            count: words[0],
            latched_count: words[1] as u16,
            count_latched: bytes[0],
            status_latched: bytes[1],
            status: bytes[2],
            read_state: bytes[3],
            write_state: bytes[4],
            write_latch: bytes[5],
            rw_mode: bytes[6],
            mode,
            bcd: bytes[7],
            gate: bytes[8],
            count_load_time: i64::from(bytes[9]) << 56,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn lapic_caches_follow_its_registers(
        ops in prop::collection::vec(lapic_op(), 1..120),
        offered in any::<(bool, bool)>(),
    ) {
        let (mut lapic, posted) = (Lapic::new(1, true), Posted::new());
        lapic.offer(offered.0, offered.1);
        let _ = lapic.write(0xf0, 0x1ff, || 0);
        let mut now = 0u64;
        for op in &ops {
            if let LapicOp::Expire(step) = *op {
                now += u64::from(step);
            }
            let ppr = lapic.read(0xa0, || now);
            if matches!(op, LapicOp::Acknowledge) && let Some(vector) = lapic.pending_vector() {
                prop_assert!(u32::from(vector >> 4) > ppr >> 4);
                prop_assert!(vector >= 16);
            }
            apply(&mut lapic, &posted, now, op);
            check_lapic(&lapic)?;
        }
    }

    #[test]
    fn lapic_state_is_a_fixed_point(page in prop::collection::vec(any::<u32>(), 64)) {
        let (mut lapic, posted) = (Lapic::new(1, false), Posted::new());
        apply(&mut lapic, &posted, 7, &LapicOp::SetState(page));
        let once = lapic.state(7, false);
        lapic.set_state(&once, 7);
        prop_assert_eq!(lapic.state(7, false), once);
    }

    /// Between two messages of a level-triggered pin lies an end of interrupt
    /// or a change of its entry.
    #[test]
    fn ioapic_sends_a_level_once(
        table in prop::collection::vec(entry(), 24),
        ops in prop::collection::vec((0u8..4, 0usize..26, any::<u32>()), 1..200),
    ) {
        let mut ioapic = Ioapic::new();
        let mut state = IoapicState { redirtbl: [1 << 16; 24], ..IoapicState::default() };
        state.redirtbl.copy_from_slice(&table);
        for pin in ioapic.set_state(&state) {
            ioapic.redeliver(pin);
        }
        for (kind, pin, value) in ops {
            let before = ioapic.state();
            let level = value & 1 != 0;
            let message: Option<Message> = match kind {
                0 | 1 => ioapic.set_line(pin, level),
                2 => {
                    let vector = before.redirtbl[pin % 24] as u8;
                    let ended = ioapic.eoi(vector);
                    prop_assert!(!ioapic.wants_eoi(vector));
                    for pin in ended {
                        ioapic.redeliver(pin);
                    }
                    None
                }
                _ => {
                    ioapic.write(0, pin as u32 + 0x10);
                    ioapic.write(0x10, value);
                    ioapic.read(0x10);
                    None
                }
            };
            if let Some(message) = message && message.level {
                prop_assert_eq!(before.redirtbl[pin] & 1 << 14, 0);
                prop_assert_ne!(ioapic.state().redirtbl[pin] & 1 << 14, 0);
                prop_assert!(matches!(message.mode, Mode::Fixed | Mode::LowestPriority));
            }
            let after = ioapic.state();
            for entry in after.redirtbl.iter().filter(|&&entry| entry & 1 << 14 != 0) {
                prop_assert!(entry & 1 << 15 != 0);
                prop_assert!(ioapic.wants_eoi(*entry as u8));
            }
            prop_assert_eq!(PinMask(after.irr >> 24).count(), 0);
        }
    }

    #[test]
    fn pic_serves_only_what_is_requested_and_unmasked(
        ops in prop::collection::vec((0u8..6, 0usize..6, any::<u8>()), 1..200),
        restored in any::<(u64, u64)>(),
        restore in any::<bool>(),
    ) {
        const PORTS: [u16; 6] = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1];
        let mut pic = Pic::new();
        if restore {
            let [irr, imr, isr, priority_add, irq_base, init_state, elcr, poll] =
                restored.0.to_le_bytes();
            let state = PicState {
                irr, imr, isr, priority_add, irq_base, init_state, elcr, poll,
                last_irr: restored.1 as u8,
                ..PicState::default()
            };
            pic.set_state(restored.1 & 1 != 0, &state);
        }
        for (kind, port, value) in ops {
            match kind {
                0 | 1 => {
                    pic.write(PORTS[port], value);
                }
                2 => {
                    pic.read(PORTS[port]);
                }
                3 | 4 => pic.set_line(value & 0x1f, value & 0x80 != 0),
                _ => {
                    let before = [pic.state(false), pic.state(true)];
                    let output = pic.output();
                    let ack = pic.acknowledge();
                    if let Some(irq) = ack.irq {
                        prop_assert!(output && irq != 2);
                        let chip = before[usize::from(irq >> 3)];
                        prop_assert!((chip.irr & !chip.imr) >> (irq & 7) & 1 != 0);
                        prop_assert_eq!(ack.vector, chip.irq_base + (irq & 7));
                    } else {
                        prop_assert_eq!(ack.vector & 7, 7);
                    }
                }
            }
        }
    }

    #[test]
    fn pit_deadline_is_when_it_fires(
        channels in prop::array::uniform3(channel()),
        ops in prop::collection::vec((0u8..4, any::<u8>(), 0u64..1 << 34), 1..100),
    ) {
        const PORTS: [u16; 5] = [0x40, 0x41, 0x42, 0x43, 0x61];
        let mut pit = Pit::new();
        let mut now = 1;
        pit.set_state(&PitState2 { channels, ..PitState2::default() }, now);
        for (kind, value, step) in ops {
            let port = PORTS[usize::from(value) % 5];
            match kind {
                0 => now += step >> (value & 31),
                1 => {
                    pit.read(port, now);
                }
                2 => pit.write(port, value, now),
                _ => {
                    if let Some(at) = pit.deadline() {
                        prop_assert!(at <= now || !pit.expire(at - 1));
                        now = now.max(at);
                        prop_assert!(pit.expire(now));
                        prop_assert!(pit.deadline().is_none_or(|next| next > now));
                    }
                }
            }
        }
    }
}
