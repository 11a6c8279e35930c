//! Who is at the other end: the connection, what was agreed on it, and what its user may do.
use super::handle::SessionHandle;
use super::rights::{Rights, Slot};
use crate::link::PacketStream;
use coregate_protocol::Capabilities;
use coregate_protocol::auth::server::Login;
use std::rc::Rc;

pub(super) struct Client {
    pub(super) stream: PacketStream,
    /// By which others see the session, and end it.
    pub(super) handle: Rc<SessionHandle>,
    pub(super) capabilities: Capabilities,
    /// COM_SET_OPTION may change what the capabilities said.
    pub(super) multi_statements: bool,
    pub(super) rights: Rc<Rights>,
    /// Where the number of the user's sessions is limited.
    pub(super) slot: Option<Box<Slot>>,
    /// Who it is, and the challenge of the greeting (COM_CHANGE_USER uses it again).
    pub(super) login: Box<(Login, [u8; 20])>,
}

impl Client {
    pub(super) fn new(
        stream: PacketStream,
        handle: Rc<SessionHandle>,
        (login, scramble): (Login, [u8; 20]),
        rights: Rights,
    ) -> Self {
        Self {
            stream,
            handle,
            capabilities: login.capabilities,
            multi_statements: login.capabilities.contains(Capabilities::MULTI_STATEMENTS),
            rights: Rc::new(rights),
            slot: None,
            login: Box::new((login, scramble)),
        }
    }
}
