//! A fault of ours in one room, and what it costs the others: nothing.

use std::sync::Arc;

use reelay_signaling::{ClientMessage, Kind, PublishTrack, Source};
use tokio::sync::mpsc;

use super::super::*;
use super::world::*;
use crate::media::{Command, Event};

async fn enter(rooms: &Rooms, room: &str) -> (Session, Inbox) {
    let (out, inbox) = outbound(64);
    let join = serde_json::from_value(serde_json::json!({"room": room, "name": "Ana"})).unwrap();
    (rooms.enter(Caller::open(), join, out).await.unwrap(), inbox)
}

#[tokio::test]
async fn a_room_that_fails_is_cleaned_up_and_the_others_go_on() {
    let closed_media = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = closed_media.clone();
    let link: MediaLink = Arc::new(move |room, command| {
        match command {
            Command::Publish { .. } => panic!("this is a test"),
            Command::CloseRoom { .. } => seen.lock().unwrap().push(room),
            _ => {}
        }
        Ok(())
    });
    // One place for news: the last word has to wait for its turn.
    let (observer, mut news) = mpsc::channel(1);
    let rooms = Rooms::new(options(), link, observer);
    let told = tokio::spawn(async move {
        let mut closed = Vec::new();
        while let Some(event) = news.recv().await {
            tokio::task::yield_now().await;
            if let What::Closed { ended } = event.what {
                closed.push((event.room, ended));
            }
        }
        closed
    });
    let (bad, bad_inbox) = enter(&rooms, "bad").await;
    let (good, mut good_inbox) = enter(&rooms, "good").await;
    assert_eq!(rooms.count(), 2);
    let track = PublishTrack { mid: "0".into(), source: Source::Camera, kind: Kind::Audio };
    let publish =
        ClientMessage::Publish { sdp: "offer".into(), tracks: vec![track], media: reelay_signaling::ResumeMedia::Kept };
    bad.message(publish, None).unwrap();
    assert!(bad_inbox.closed.await.is_err(), "its people are let go");
    rooms.0.count.subscribe().wait_for(|live| *live == 1).await.unwrap();
    let failed = bad.room.key;
    assert_eq!(*closed_media.lock().unwrap(), [failed]);
    good.message(ClientMessage::Chat { text: "still here".into() }, None).unwrap();
    assert_eq!(good.room.snapshot().await.unwrap().participants.len(), 1);
    let mut lines = std::iter::from_fn(|| good_inbox.messages.try_recv().ok());
    assert!(
        lines.any(|line| matches!(&*line, reelay_signaling::ServerMessage::Chat(line) if line.text == "still here"))
    );
    let (again, _inbox) = enter(&rooms, "bad").await;
    assert_ne!(again.room.key, failed, "the name is free again");
    rooms.close_all(reelay_signaling::ClosedReason::Stopping, std::time::Duration::from_secs(20)).await;
    drop((bad, good, again, rooms));
    let closed = told.await.unwrap();
    assert!(closed.contains(&(failed, false)), "who records hears of its end: {closed:?}");
    assert_eq!(closed.len(), 3);
}

#[tokio::test]
async fn a_room_that_ends_hears_the_media_plane_until_that_lets_go_of_it() {
    let held = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = held.clone();
    let link: MediaLink = Arc::new(move |_, command| {
        if let Command::OpenRoom { events, .. } = command {
            kept.lock().unwrap().push(events);
        }
        Ok(())
    });
    let (observer, mut news) = mpsc::channel(64);
    let rooms = Rooms::new(options(), link, observer);
    let (ana, _inbox) = enter(&rooms, "team").await;
    rooms.close_all(reelay_signaling::ClosedReason::Stopping, std::time::Duration::from_secs(20)).await;
    assert_eq!(rooms.count(), 0);
    drop((ana, rooms));
    while news.recv().await.is_some() {}
    // Datagrams that were read before its command to close the room was.
    let events = held.lock().unwrap().pop().unwrap();
    for _ in 0..3_000 {
        events.send(Event::Speaking(Vec::new())).await.unwrap();
    }
}
