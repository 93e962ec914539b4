//! Reads the rooms' events.

use tokio::sync::mpsc;

use crate::room::RoomEvent;

/// Reads room events until the last room handle is gone.
pub(super) async fn read(mut events: mpsc::Receiver<RoomEvent>) {
    while let Some(event) = events.recv().await {
        tracing::debug!(room = event.room.0, "room event");
    }
}
