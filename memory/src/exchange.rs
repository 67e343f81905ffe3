//! MemLoader and MemDumper: memory that moves between spaces, machines and systems.
//!
//! A [`bundle`] is the unit of the Memory Interchange Protocol: an archive that says what it holds, proves that it is
//! whole, and may be signed. [`import`] decides what becomes of each of its cubes; [`foreign`] reads what other systems
//! export, and hands it to the same rules. [`transfer`] is the only room here that knows a space.
//!
//! Nothing that comes from outside is trusted for what it says of itself: who owns a memory and who may read it is
//! decided anew, and what was erased here does not come back.

pub mod bundle;
pub mod foreign;
pub mod import;
pub mod transfer;
