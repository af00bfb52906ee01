//! What scripts are made of: how an activity ends, and what goes wrong on the way.

/// What an activity ends in. The scripts' table describes each, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Success,
    StandardOnly,
    SimplifiedOnly,
    Failed,
    FailedAs200,
    NoPcsid,
    Rejected,
    Never,
}

/// What goes wrong with a poll. The scripts' table describes each, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Unauthorized,
    Forbidden,
    NotYetKnown,
    BadRequest,
    Throttled,
    Unavailable,
    ServerError,
    Gateway,
    Redirect,
    Slow,
    Hang,
    Dropped,
    Garbage,
    Oversized,
    UnknownStatus,
    OtherType,
}
