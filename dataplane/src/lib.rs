pub mod error;
mod ring;
