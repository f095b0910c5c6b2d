//! Rules, as the kernel's expressions over registers of four bytes.

use super::encode;

/// Where a chain of address translation hooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `NF_INET_PRE_ROUTING` and so on.
    pub number: u32,
    pub priority: i32,
}

/// What a register is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// The source address of the packet.
    Source,
    /// Its destination.
    Destination,
    /// The number of the transport protocol.
    Protocol,
    /// The destination port.
    Port,
    /// `NFPROTO_*`
    Family,
    /// The bits of the connection's status.
    ConnectionStatus,
    /// What kind of address the destination is, to this machine.
    DestinationType,
    /// As [`Load::DestinationType`], of the source.
    SourceType,
    /// A random number below `modulus`, plus `offset`.
    Random { modulus: u32, offset: u32 },
}

/// What is done with the address and port that were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// The element is made, or its time starts anew.
    Update,
    /// The element is made, if it is missing.
    Add,
    /// The element is removed.
    Delete,
}

/// The expressions of one rule. Registers are 0 to 15.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleBody {
    out: Vec<u8>,
}

/// The number of the first register of four bytes.
const FIRST_REGISTER: u32 = 8;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

impl RuleBody {
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    fn expression(mut self, name: &str, fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        encode::nest(&mut self.out, 1, |out| {
            encode::text(out, 1, name);
            encode::nest(out, 2, fill);
        });
        self
    }

    /// Goes on with what another rule does.
    pub fn append(mut self, other: Self) -> Self {
        self.out.extend_from_slice(&other.out);
        self
    }

    /// Fills a register.
    pub fn load(self, what: Load, register: u32) -> Self {
        const NETWORK: u32 = 1;
        const TRANSPORT: u32 = 2;
        let register = FIRST_REGISTER + register;
        let payload = |rule: Self, base, offset, bytes| {
            rule.expression("payload", |out| {
                encode::be32(out, 1, register);
                encode::be32(out, 2, base);
                encode::be32(out, 3, offset);
                encode::be32(out, 4, bytes);
            })
        };
        let keyed = |rule: Self, name, key| {
            rule.expression(name, |out| {
                encode::be32(out, 1, register);
                encode::be32(out, 2, key);
            })
        };
        let fib = |rule: Self, flags| {
            rule.expression("fib", |out| {
                encode::be32(out, 1, register);
                // `NFT_FIB_RESULT_ADDRTYPE`
                encode::be32(out, 2, 3);
                encode::be32(out, 3, flags);
            })
        };
        match what {
            Load::Source => payload(self, NETWORK, 12, 4),
            Load::Destination => payload(self, NETWORK, 16, 4),
            Load::Port => payload(self, TRANSPORT, 2, 2),
            Load::Family => keyed(self, "meta", 15),
            Load::Protocol => keyed(self, "meta", 16),
            Load::ConnectionStatus => keyed(self, "ct", 2),
            Load::SourceType => fib(self, 1),
            Load::DestinationType => fib(self, 2),
            Load::Random { modulus, offset } => self.expression("numgen", |out| {
                encode::be32(out, 1, register);
                encode::be32(out, 2, modulus);
                // `NFT_NG_RANDOM`
                encode::be32(out, 3, 1);
                encode::be32(out, 4, offset);
            }),
        }
    }

    /// Keeps only these bits of a register.
    pub fn mask(self, register: u32, mask: [u8; 4]) -> Self {
        let register = FIRST_REGISTER + register;
        self.expression("bitwise", |out| {
            encode::be32(out, 1, register);
            encode::be32(out, 2, register);
            encode::be32(out, 3, 4);
            encode::nest(out, 4, |out| encode::bytes(out, 1, &mask));
            encode::nest(out, 5, |out| encode::bytes(out, 1, &[0; 4]));
        })
    }

    /// Goes on only when the register begins with these bytes.
    pub fn only_if(self, register: u32, bytes: &[u8]) -> Self {
        self.compare(register, EQUAL, bytes)
    }

    /// Goes on only when it does not.
    pub fn unless(self, register: u32, bytes: &[u8]) -> Self {
        self.compare(register, NOT_EQUAL, bytes)
    }

    fn compare(self, register: u32, operation: u32, bytes: &[u8]) -> Self {
        self.expression("cmp", |out| {
            encode::be32(out, 1, FIRST_REGISTER + register);
            encode::be32(out, 2, operation);
            encode::nest(out, 3, |out| encode::bytes(out, 1, bytes));
        })
    }

    /// Goes on only when the set has the key that begins at the register.
    pub fn within(self, set: &str, register: u32) -> Self {
        self.expression("lookup", |out| {
            encode::text(out, 1, set);
            encode::be32(out, 2, FIRST_REGISTER + register);
        })
    }

    /// Goes on only when it has not.
    pub fn not_within(self, set: &str, register: u32) -> Self {
        self.expression("lookup", |out| {
            encode::text(out, 1, set);
            encode::be32(out, 2, FIRST_REGISTER + register);
            encode::be32(out, 5, 1);
        })
    }

    /// Puts what the map has for a key into registers; goes on only when it has something.
    pub fn map(self, set: &str, register: u32, into: u32) -> Self {
        self.expression("lookup", |out| {
            encode::text(out, 1, set);
            encode::be32(out, 2, FIRST_REGISTER + register);
            encode::be32(out, 3, FIRST_REGISTER + into);
        })
    }

    /// Does what the verdict map says for a key.
    pub fn verdict(self, set: &str, register: u32) -> Self {
        self.expression("lookup", |out| {
            encode::text(out, 1, set);
            encode::be32(out, 2, FIRST_REGISTER + register);
            encode::be32(out, 3, 0);
        })
    }

    /// Changes a map of the kind [`super::MapKind::Memory`].
    pub fn remember(self, set: &str, take: Take, key: u32, data: u32, timeout_s: u32) -> Self {
        self.expression("dynset", |out| {
            encode::text(out, 1, set);
            encode::be32(
                out,
                3,
                match take {
                    Take::Add => 0,
                    Take::Update => 1,
                    Take::Delete => 2,
                },
            );
            encode::be32(out, 4, FIRST_REGISTER + key);
            // Removing needs no data, but the kernel wants a register all the same.
            encode::be32(out, 5, FIRST_REGISTER + data);
            if take != Take::Delete {
                encode::be64(out, 6, u64::from(timeout_s) * 1000);
            }
        })
    }

    /// Sends the connection to the address and port in two registers.
    pub fn translate(self, address: u32, port: u32) -> Self {
        self.expression("nat", |out| {
            // `NFT_NAT_DNAT`
            encode::be32(out, 1, 1);
            encode::be32(out, 2, u32::from(super::FAMILY_IPV4));
            encode::be32(out, 3, FIRST_REGISTER + address);
            encode::be32(out, 5, FIRST_REGISTER + port);
        })
    }

    /// Gives the connection the address of the interface by which it leaves.
    pub fn masquerade(self) -> Self {
        self.expression("masq", |_| {})
    }

    /// Resets a TCP connection.
    pub fn reset(self) -> Self {
        self.expression("reject", |out| {
            encode::be32(out, 1, 1);
        })
    }

    /// Says by ICMP that nobody listens.
    pub fn unreachable(self) -> Self {
        self.expression("reject", |out| {
            encode::be32(out, 1, 2);
            encode::bytes(out, 2, &[1]);
        })
    }

    /// Throws the packet away.
    pub fn drop(self) -> Self {
        self.immediate(|out| encode::be32(out, 1, 0))
    }

    /// Ends the chain.
    pub fn done(self) -> Self {
        /// `NFT_RETURN`
        const RETURN: i32 = -5;
        self.immediate(|out| encode::be32(out, 1, RETURN.cast_unsigned()))
    }

    /// Goes on in another chain, and comes back.
    pub fn jump(self, chain: &str) -> Self {
        /// `NFT_JUMP`
        const JUMP: i32 = -3;
        self.immediate(|out| {
            encode::be32(out, 1, JUMP.cast_unsigned());
            encode::text(out, 2, chain);
        })
    }

    /// Goes on in another chain.
    pub fn goto(self, chain: &str) -> Self {
        /// `NFT_GOTO`
        const GOTO: i32 = -4;
        self.immediate(|out| {
            encode::be32(out, 1, GOTO.cast_unsigned());
            encode::text(out, 2, chain);
        })
    }

    fn immediate(self, verdict: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.expression("immediate", |out| {
            encode::be32(out, 1, 0);
            encode::nest(out, 2, |out| encode::nest(out, 2, verdict));
        })
    }
}
