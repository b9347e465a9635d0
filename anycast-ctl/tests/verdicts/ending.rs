//! Which FIN and RST end a bound flow at a correspondent.

use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    correspondent::{A, B, C, LATER, bench, bind},
    harness::Bench,
    packets::{ACK, FIN, Packet, RST, SYN},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("ending: which FIN and RST are believed", believed)
        .test("ending: what takes them back", taken_back)
}

/// Segments of a connection on which the client counts from 100 and the member from [`MEMBER`]: flags, sequence
/// number, what it acknowledges, data.
#[derive(Clone, Copy, Debug)]
enum Segment {
    Client(u8, u32, u32, &'static [u8]),
    Member(u8, u32, u32, &'static [u8]),
}

use Segment::{Client, Member};

/// What the client sends next.
const NEXT: u32 = 101;
/// The member's first number, near the end of the sequence space, and what it sends next.
const MEMBER: u32 = 0xffff_ff00;
const ANSWER: u32 = MEMBER + 1;
/// A number is near another by less than that.
const NEAR: u32 = 1 << 20;
/// Far from all.
const FAR: u32 = 0x4000_0000;

/// One of many connections at a correspondent.
struct Connection<'a> {
    bench: &'a mut Bench,
    port: u16,
    /// What was not believed of those before it.
    unbelieved: u64,
}

impl Connection<'_> {
    fn send(&mut self, segment: Segment) -> Result<()> {
        let packet = match segment {
            Client(flags, sequence, acknowledged, data) => {
                Packet::tcp(A, B, (self.port, 80), flags).numbered(sequence, acknowledged, data)
            }
            Member(flags, sequence, acknowledged, data) => {
                // Of a connection that it does not know, it says so from B.
                let disowns = flags & (RST | ACK) == RST;
                let source = if disowns { B } else { C };
                Packet::tcp(source, A, (80, self.port), flags).numbered(
                    sequence,
                    acknowledged,
                    data,
                )
            }
        };
        // The short way notes nothing.
        self.bench.dataplane.maps().next_hops_changed()?;
        self.bench.run(&packet.frame())?;
        Ok(())
    }

    fn noted(&mut self) -> Result<Noted> {
        let port = self.port.to_be_bytes();
        let flows = self.bench.dataplane.maps().flow_reader().flows();
        let (_, flow) = flows
            .iter()
            .find(|(key, _)| key.client_port == port)
            .context("no flow")?;
        let unbelieved = self.bench.counters()?["flow_end_unbelieved"];
        Ok((
            flow.client_closed,
            flow.member_closed,
            unbelieved - self.unbelieved,
        ))
    }
}

/// A connection after its handshake.
fn connect(bench: &mut Bench, port: u16) -> Result<Connection<'_>> {
    let unbelieved = bench.counters()?["flow_end_unbelieved"];
    let mut connection = Connection {
        bench,
        port,
        unbelieved,
    };
    for segment in [
        Client(SYN, NEXT - 1, 0, b""),
        Member(SYN | ACK, MEMBER, NEXT, b""),
        Client(ACK, NEXT, ANSWER, b""),
    ] {
        connection.send(segment)?;
    }
    Ok(connection)
}

/// What is noted of the client's end and of the member's, and how much was not believed.
type Noted = (u8, u8, u64);

fn courses(courses: &[(&str, &[(Segment, Noted)])]) -> Result<()> {
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    for ((name, course), port) in courses.iter().zip(40000..) {
        let mut connection = connect(&mut bench, port)?;
        ensure!(connection.noted()? == (0, 0, 0), "{name}");
        for (segment, expected) in *course {
            connection.send(*segment)?;
            let noted = connection.noted()?;
            ensure!(
                noted == *expected,
                "{name}, {segment:x?}: {noted:?}, not {expected:?}"
            );
        }
    }
    Ok(())
}

fn believed() -> Result<()> {
    let fin = FIN | ACK;
    courses(&[
        (
            "FIN of the client",
            &[(Client(fin, NEXT, ANSWER, b""), (3, 0, 0))],
        ),
        (
            "FIN of the member",
            &[(Member(fin, ANSWER, NEXT, b""), (0, 3, 0))],
        ),
        (
            "RST of the client",
            &[(Client(RST, NEXT, 0, b""), (3, 3, 0))],
        ),
        (
            "RST of the member",
            &[(Member(RST, ANSWER, 0, b""), (3, 3, 0))],
        ),
        (
            "the furthest number ahead",
            &[(Client(RST, NEXT + NEAR - 1, 0, b""), (3, 3, 0))],
        ),
        (
            "one beyond",
            &[(Client(RST, NEXT + NEAR, 0, b""), (1, 0, 1))],
        ),
        (
            "the furthest number behind",
            &[(Client(RST, NEXT.wrapping_sub(NEAR), 0, b""), (3, 3, 0))],
        ),
        (
            "one before",
            &[(Client(RST, NEXT.wrapping_sub(NEAR + 1), 0, b""), (1, 0, 1))],
        ),
        (
            "a number behind the end of the space",
            &[(Member(RST, 5, 0, b""), (3, 3, 0))],
        ),
        (
            "what it acknowledges is near",
            &[(Client(fin, FAR, ANSWER, b""), (3, 0, 0))],
        ),
        (
            "but nothing is acknowledged",
            &[(Client(FIN, FAR, ANSWER, b""), (1, 0, 1))],
        ),
        (
            "what the member acknowledges is near",
            &[(Member(RST | ACK, FAR, NEXT, b""), (3, 3, 0))],
        ),
        (
            "nothing is near",
            &[(Member(fin, FAR, FAR, b""), (0, 1, 1))],
        ),
        (
            "both ends, neither believed",
            &[
                (Client(fin, FAR, FAR, b""), (1, 0, 1)),
                (Member(fin, FAR, FAR, b""), (1, 1, 2)),
            ],
        ),
        (
            "what is believed stays so",
            &[
                (Client(fin, NEXT, ANSWER, b""), (3, 0, 0)),
                (Client(RST, FAR, 0, b""), (3, 0, 1)),
            ],
        ),
    ])
}

fn taken_back() -> Result<()> {
    let fin = FIN | ACK;
    courses(&[
        (
            "data beyond it",
            &[
                (Client(fin, NEXT, ANSWER, b""), (3, 0, 0)),
                (Client(ACK, NEXT + 1, ANSWER, b"x"), (0, 0, 0)),
            ],
        ),
        (
            "what was sent before",
            &[
                (Client(ACK, NEXT, ANSWER, b"data"), (0, 0, 0)),
                (Client(fin, NEXT + 4, ANSWER, b""), (3, 0, 0)),
                (Client(ACK, NEXT, ANSWER, b"data"), (3, 0, 0)),
                (Client(ACK, NEXT + 5, ANSWER, b""), (3, 0, 0)),
            ],
        ),
        (
            "data far away",
            &[
                (Member(fin, ANSWER, NEXT, b""), (0, 3, 0)),
                (Member(ACK, FAR, FAR, b"data"), (0, 3, 0)),
            ],
        ),
        (
            "the other end's data",
            &[
                (Member(fin, ANSWER, NEXT, b""), (0, 3, 0)),
                (Client(ACK, NEXT, ANSWER + 1, b"data"), (0, 3, 0)),
            ],
        ),
        (
            "a reset that is not believed, by data",
            &[
                (Member(RST, FAR, 0, b""), (0, 1, 1)),
                (Member(ACK, ANSWER, NEXT, b"data"), (0, 0, 1)),
            ],
        ),
        (
            "numbers go on with what passes",
            &[
                (Client(ACK, NEXT, ANSWER, &[0; 1000]), (0, 0, 0)),
                (Client(RST, NEXT + 1000 + NEAR, 0, b""), (1, 0, 1)),
                (Client(RST, NEXT + 1000 + NEAR - 1, 0, b""), (3, 3, 1)),
            ],
        ),
    ])
}
