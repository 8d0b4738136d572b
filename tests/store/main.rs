//! The store on its own, in a file of SQLite and in a real PostgreSQL: each test runs on both.

#![cfg(test)]

mod accepting;
mod asking;
mod delivering;
mod dispatching;
mod keeping;
mod kills;
mod lives;
mod model;
mod places;
mod rewriting;
mod samples;
mod schema;
mod spooling;
mod suspending;
mod trouble;

/// Makes two tests of a function that takes a [`places::Place`].
macro_rules! on_both {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        mod sqlite {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread")] async fn $name() {
                super::$name($crate::places::Place::file()).await;
            })*
        }
        mod postgres {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread")] async fn $name() {
                super::$name($crate::places::Place::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both;
