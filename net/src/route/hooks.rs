//! Programs on interfaces: the queueing discipline `clsact`, which queues nothing and only has
//! places for filters, and our one filter in such a place.
//!
//! The filter's number and its place in the order are always the same, so a new one takes the place
//! of that of a former daemon in one step, and others' filters are never touched. Kernels since 6.6
//! have links for this ("tcx"), but hanging one waits until every processor has taken notice.

use futures::{Stream, StreamExt};
use kabuki_bpf::Program;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
};

use super::{Routes, link_error};
use crate::NetError;

/// Ours among the filters of a place ("kb"): behind those of others, which may then do what they
/// want before ours sends the packet elsewhere.
const PRIORITY: u16 = 0x6b62;

/// Ours among the filters of that priority.
const FILTER: TcHandle = TcHandle { major: 0, minor: 1 };

/// The only protocol for which the filter is asked: IPv4 (`ETH_P_IP`).
const PROTOCOL: u16 = 0x0800;

/// Where a packet meets a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// It comes in by the interface.
    In,
    /// It leaves by the interface.
    Out,
}

impl Routes {
    /// Hangs a program on an interface, in the place of one that was there.
    pub(crate) async fn hang(
        &self,
        index: u32,
        side: Side,
        name: &str,
        program: &Program,
    ) -> Result<(), NetError> {
        let mut places = TcMessage::with_index(index.cast_signed());
        places.header.handle = TcHandle {
            major: TcHandle::CLSACT.major,
            minor: 0,
        };
        places.header.parent = TcHandle::CLSACT;
        places.attributes.push(TcAttribute::Kind("clsact".into()));
        let mut filter = filter(index, side);
        filter.attributes.extend([
            TcAttribute::Kind("bpf".into()),
            TcAttribute::Options(vec![
                TcOption::Bpf(TcFilterBpfOption::ProgFd(
                    program.descriptor().cast_unsigned(),
                )),
                TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
                TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
            ]),
        ]);
        // Both are sent before the first is answered: the kernel takes one after the other.
        let made = self.ask(
            RouteNetlinkMessage::NewQueueDiscipline(places),
            NLM_F_CREATE | NLM_F_EXCL,
        );
        let hung = self.ask(RouteNetlinkMessage::NewTrafficFilter(filter), NLM_F_CREATE);
        let (made, hung) = (answer(made).await, answer(hung).await);
        let failed = || link_error("hang a program on", &format!("{index} ({name})"));
        match made.map_err(failed()) {
            Err(error) if !error.is_present() => Err(error),
            _ => hung.map_err(failed()),
        }
    }

    /// Takes our program from an interface; none is fine.
    pub(crate) async fn unhang(&self, index: u32, side: Side) -> Result<(), NetError> {
        let asked = self.ask(
            RouteNetlinkMessage::DelTrafficFilter(filter(index, side)),
            0,
        );
        let failed = link_error("take a program from", &index.to_string());
        match answer(asked).await.map_err(failed) {
            // Neither is there a place for it.
            Err(error) if !error.is_gone() && !error.is_invalid() => Err(error),
            _ => Ok(()),
        }
    }

    fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + use<>, rtnetlink::Error>
    {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        self.handle.clone().request(request)
    }
}

fn filter(index: u32, side: Side) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.handle = FILTER;
    message.header.parent = TcHandle {
        major: TcHandle::CLSACT.major,
        minor: match side {
            Side::In => TcHandle::MIN_INGRESS,
            Side::Out => TcHandle::MIN_EGRESS,
        },
    };
    // The protocol is in the order of the network.
    message.header.info = u32::from(PRIORITY) << 16 | u32::from(PROTOCOL.to_be());
    message
}

async fn answer(
    asked: Result<
        impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Unpin,
        rtnetlink::Error,
    >,
) -> Result<(), rtnetlink::Error> {
    let mut answers = asked?;
    while let Some(message) = answers.next().await {
        if let NetlinkPayload::Error(error) = message.payload {
            return match error.code {
                Some(_) => Err(rtnetlink::Error::NetlinkError(error)),
                None => Ok(()),
            };
        }
    }
    Ok(())
}
