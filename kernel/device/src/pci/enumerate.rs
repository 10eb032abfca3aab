//! [`enumerate`]: all functions of a segment.

use alloc::vec;
use alloc::vec::Vec;

use super::function::is_multi_function;
use super::{ConfigSpace, Function, FunctionAddress, Kind};

/// Finds all functions that can be reached from `first_bus` on, over the bus
/// numbers that firmware gave to bridges. Each bus is visited once, so wrong
/// numbers cannot make a loop.
pub fn enumerate(config: &impl ConfigSpace, segment: u16, first_bus: u8) -> Vec<Function> {
    let mut found = Vec::new();
    let mut visited = [false; 256];
    let mut pending = vec![first_bus];
    while let Some(bus) = pending.pop() {
        if core::mem::replace(&mut visited[usize::from(bus)], true) {
            continue;
        }
        let before = found.len();
        for device in 0..32 {
            scan_device(
                config,
                FunctionAddress {
                    segment,
                    bus,
                    device,
                    function: 0,
                },
                &mut found,
            );
        }
        for function in &found[before..] {
            match function.kind {
                Kind::Bridge { secondary_bus } if secondary_bus != 0 => pending.push(secondary_bus),
                _ => {}
            }
        }
    }
    found.sort_by_key(|function| function.address);
    found
}

fn scan_device(config: &impl ConfigSpace, first: FunctionAddress, found: &mut Vec<Function>) {
    let Some(function) = Function::read(config, first) else {
        return;
    };
    found.push(function);
    if is_multi_function(config, first) {
        let others = (1..8).map(|function| FunctionAddress { function, ..first });
        found.extend(others.filter_map(|at| Function::read(config, at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::{Bar, Command};
    use crate::simulation::{SimulatedBus, SimulatedFunction};
    use std::string::{String, ToString};

    fn names(bus: &SimulatedBus) -> Vec<String> {
        enumerate(bus, 0, 0)
            .iter()
            .map(|function| function.address.to_string())
            .collect()
    }

    #[test]
    fn finds_functions_behind_bridges() {
        let mut bus = SimulatedBus::new();
        bus.add("00:00.0", SimulatedFunction::new(0x8086, 0x29c0));
        bus.add(
            "00:1f.0",
            SimulatedFunction::new(0x8086, 0x2918).multi_function(),
        );
        bus.add("00:1f.2", SimulatedFunction::new(0x8086, 0x2922));
        bus.add("00:03.0", SimulatedFunction::bridge(2));
        bus.add("02:01.0", SimulatedFunction::bridge(7));
        bus.add("07:00.0", SimulatedFunction::new(0x1af4, 0x1042));
        bus.add("05:00.0", SimulatedFunction::new(0x1af4, 0x1042));
        let expected = [
            "0000:00:00.0",
            "0000:00:03.0",
            "0000:00:1f.0",
            "0000:00:1f.2",
        ];
        let behind = ["0000:02:01.0", "0000:07:00.0"];
        assert_eq!(names(&bus), [&expected[..], &behind].concat());
    }

    #[test]
    fn function_1_counts_only_if_announced() {
        let mut bus = SimulatedBus::new();
        bus.add("00:01.0", SimulatedFunction::new(1, 1));
        bus.add("00:01.1", SimulatedFunction::new(1, 1));
        assert_eq!(names(&bus), ["0000:00:01.0"]);
    }

    #[test]
    fn bridges_in_a_circle_end() {
        let mut bus = SimulatedBus::new();
        bus.add("00:01.0", SimulatedFunction::bridge(1));
        bus.add("01:01.0", SimulatedFunction::bridge(0));
        bus.add("01:02.0", SimulatedFunction::bridge(1));
        assert_eq!(names(&bus).len(), 3);
    }

    #[test]
    fn bars_are_sized_and_left_as_they_were() {
        let mut bus = SimulatedBus::new();
        let mut function = SimulatedFunction::new(0x1af4, 0x1042);
        function.set_bar(0, 0xc001, 0xffff_ff81);
        function.set_bar(1, 0xfebf_1000, 0xffff_f000);
        function.set_bar(4, 0x000c, 0xffff_c00c);
        function.set_bar(5, 0x40, u32::MAX);
        function.set_command(Command::MEMORY | Command::PORTS);
        let before = function.config().to_vec();
        bus.add("00:02.0", function);
        let found = &enumerate(&bus, 0, 0)[0];
        let memory = |address, length, wide| {
            Some(Bar::Memory {
                address,
                length,
                is_prefetchable: wide,
                is_64_bit: wide,
            })
        };
        let port = Some(Bar::Port {
            port: 0xc000,
            length: 0x80,
        });
        let low = memory(0xfebf_1000, 0x1000, false);
        let high = memory(0x40_0000_0000, 0x4000, true);
        assert_eq!(found.bars, [port, low, None, None, high, None]);
        assert_eq!(bus.config("00:02.0"), before);
        assert!(bus.sized_while_decoding().is_empty());
    }

    #[test]
    fn capability_lists_end_even_when_broken() {
        let mut bus = SimulatedBus::new();
        let mut function = SimulatedFunction::new(0x1af4, 0x1042);
        function.add_capability(0x40, 0x09, &[0; 14]);
        function.add_capability(0x50, 0x11, &[0; 10]);
        bus.add("00:02.0", function.clone());
        let mut broken = function.clone();
        broken.write(0x51, &[0x40]);
        bus.add("00:03.0", broken);
        function.write(0x41, &[0x10]);
        bus.add("00:04.0", function);
        let found = enumerate(&bus, 0, 0);
        let ids: Vec<u8> = found[0].capabilities.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [0x09, 0x11]);
        assert_eq!(found[1].capabilities.len(), 48);
        assert_eq!(found[2].capabilities.len(), 1);
    }
}
