//! Which addresses checks and receivers may reach. Whoever may write one could else read the metadata service of the machine
//! that runs them, or knock on doors of the network it stands in.
//!
//! Metadata and link-local addresses are refused always ([`forbidden`]); to checks also loopback, private and other special
//! ones unless their range is allow-listed ([`AddressPolicy`]). An IPv4 address inside of an IPv6 one is judged as what it is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::parse::Invalid;

/// A range of addresses: `10.0.0.0/8`, `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_bits: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix_bits }
    }

    const fn v6(first: u16, second: u16, prefix_bits: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), prefix_bits }
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let common = |a: u128, b: u128, width: u32| {
            let shift = width.saturating_sub(u32::from(self.prefix_bits));
            a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => common(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => common(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong =
            || Invalid(format!("{text:?} is not a range of addresses: write one such as 10.0.0.0/8, 127.0.0.1 or ::1"));
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Ok(width), |prefix| prefix.parse().map_err(|_| wrong()))?;
        if prefix_bits > width {
            return Err(wrong());
        }
        Ok(Self { address, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// Refused whatever is allow-listed.
const ALWAYS: &[(Network, &str)] = &[
    (Network::v4(169, 254, 0, 0, 16), "link-local, where metadata services live"),
    (Network::v4(168, 63, 129, 16, 32), "a cloud's metadata service"),
    (Network::v4(100, 100, 100, 200, 32), "a cloud's metadata service"),
    (Network::v4(192, 0, 0, 192, 32), "a cloud's metadata service"),
    (Network::v6(0xfe80, 0, 10), "link-local"),
    (AWS_METADATA_V6, "a cloud's metadata service"),
    (Network::v4(0, 0, 0, 0, 8), "no address of a host"),
    (Network::v4(224, 0, 0, 0, 4), "multicast"),
    (Network::v4(255, 255, 255, 255, 32), "broadcast"),
    (Network::v6(0xff00, 0, 8), "multicast"),
    (Network::v6(0, 0, 128), "no address of a host"),
];

const AWS_METADATA_V6: Network =
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), prefix_bits: 128 };

/// Refused unless allow-listed.
const SPECIAL: &[(Network, &str)] = &[
    (Network::v4(127, 0, 0, 0, 8), "loopback"),
    (Network::v4(10, 0, 0, 0, 8), "private"),
    (Network::v4(172, 16, 0, 0, 12), "private"),
    (Network::v4(192, 168, 0, 0, 16), "private"),
    (Network::v4(100, 64, 0, 0, 10), "shared by a carrier's customers"),
    (Network::v4(192, 0, 0, 0, 24), "special"),
    (Network::v4(192, 0, 2, 0, 24), "for documentation"),
    (Network::v4(198, 18, 0, 0, 15), "for benchmarks"),
    (Network::v4(198, 51, 100, 0, 24), "for documentation"),
    (Network::v4(203, 0, 113, 0, 24), "for documentation"),
    (Network::v4(240, 0, 0, 0, 4), "reserved"),
    (LOOPBACK_V6, "loopback"),
    (Network::v6(0xfc00, 0, 7), "private"),
    (Network::v6(0xfec0, 0, 10), "private"),
    (Network::v6(0x2001, 0x0db8, 32), "for documentation"),
];

const LOOPBACK_V6: Network = Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix_bits: 128 };

/// What an address is, if it is one that nothing is ever sent to, whatever is allow-listed.
#[must_use]
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    within(ALWAYS, address)
}

fn within(list: &[(Network, &'static str)], address: IpAddr) -> Option<&'static str> {
    let real = embedded_v4(address).map_or(address, IpAddr::V4);
    list.iter().find(|(network, _)| network.contains(real) || network.contains(address)).map(|(_, what)| *what)
}

/// Which addresses checks may reach.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    allowed: Vec<Network>,
}

impl AddressPolicy {
    /// Public addresses and these ranges.
    #[must_use]
    pub fn allowing(allowed: Vec<Network>) -> Self {
        Self { allowed }
    }

    /// Whether an address may be dialled.
    ///
    /// # Errors
    /// Why it may not.
    pub fn judge(&self, address: IpAddr) -> Result<(), String> {
        if let Some(what) = forbidden(address) {
            return Err(format!("{address} is {what}; checks never go there"));
        }
        let real = embedded_v4(address).map_or(address, IpAddr::V4);
        match within(SPECIAL, address) {
            Some(_) if self.allowed.iter().any(|network| network.contains(real) || network.contains(address)) => Ok(()),
            Some(what) => Err(format!("{address} is {what}; checks go there only if its range is allow-listed")),
            None => Ok(()),
        }
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64, 6to4.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff | 0] if g != 0 => v4(g, h),
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] | [0, 0, 0, 0, 0xffff, 0] => v4(g, h),
        [0x64, 0xff9b, 1, ..] => v4(g, h),
        [0x2002, ..] => v4(b, c),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(allowed: &[&str], address: &str, want: Option<&str>) {
        let policy = AddressPolicy::allowing(allowed.iter().map(|text| text.parse().unwrap()).collect());
        let address: IpAddr = address.parse().unwrap();
        match (policy.judge(address), want) {
            (Ok(()), None) => {}
            (Err(why), Some(part)) => assert!(why.contains(part) && why.contains(&address.to_string()), "{why}"),
            (found, want) => panic!("{address} with {allowed:?}: {found:?}, not {want:?}"),
        }
    }

    #[test]
    fn public_addresses_are_free_and_others_are_not() {
        for public in
            ["1.1.1.1", "93.184.216.34", "172.15.0.1", "172.32.0.1", "2606:4700::1111", "11.0.0.1", "100.128.0.1"]
        {
            check(&[], public, None);
        }
        for (address, what) in [
            ("127.0.0.1", "loopback"),
            ("127.255.0.3", "loopback"),
            ("::1", "loopback"),
            ("10.1.2.3", "private"),
            ("172.31.255.255", "private"),
            ("192.168.0.1", "private"),
            ("100.64.0.1", "carrier"),
            ("fd12::1", "private"),
            ("198.18.0.1", "benchmarks"),
            ("240.0.0.1", "reserved"),
            // The same in the clothes of IPv6.
            ("::ffff:127.0.0.1", "loopback"),
            ("::127.0.0.1", "loopback"),
            ("64:ff9b::a00:1", "private"),
            ("2002:7f00:1::", "loopback"),
        ] {
            check(&[], address, Some(what));
        }
    }

    #[test]
    fn metadata_and_link_local_are_refused_whatever_is_allowed() {
        let all = ["0.0.0.0/0", "::/0"];
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            check(&all, address, Some("never"));
        }
        for address in ["127.0.0.1", "10.0.0.1", "::1", "fd12::1"] {
            check(&all, address, None);
        }
    }

    #[test]
    fn only_the_listed_range_is_opened() {
        check(&["10.1.0.0/16"], "10.1.2.3", None);
        check(&["10.1.0.0/16"], "::ffff:10.1.2.3", None);
        check(&["10.1.0.0/16"], "10.2.2.3", Some("private"));
        check(&["127.0.0.1"], "127.0.0.2", Some("loopback"));
        check(&["::1"], "::1", None);
    }

    #[test]
    fn ranges_read_and_print() {
        for (text, want) in [("10.0.0.0/8", "10.0.0.0/8"), ("127.0.0.1", "127.0.0.1/32"), ("fd00::/8", "fd00::/8")] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), want);
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "::/129", "10.0.0.0/"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn mapping_into_ipv6_changes_nothing(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let policy = AddressPolicy::default();
            prop_assert_eq!(policy.judge(IpAddr::V4(v4)).is_ok(), policy.judge(IpAddr::V6(v4.to_ipv6_mapped())).is_ok());
        }

        #[test]
        fn a_range_holds_its_own_address(bits: u32, prefix in 0_u8..=32) {
            let address = IpAddr::V4(Ipv4Addr::from_bits(bits));
            let network = Network { address, prefix_bits: prefix };
            prop_assert!(network.contains(address));
        }
    }
}
