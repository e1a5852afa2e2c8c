//! One push, with a guard between what the server has and what is sent.

use std::{cell::RefCell, rc::Rc};

use git2::{Direction, Error, ErrorClass, ErrorCode, PushOptions, RemoteRedirect, Repository};

use super::{
    Request,
    classify::{self, Seen},
    remote,
};
use crate::{
    error::RepoError,
    push::{Push, Pushed, Refusal},
};

/// Most text of a server that is kept.
const MOST_TOLD: usize = 2_000;

/// What the server says of the reference.
#[derive(Debug, Default)]
enum Status {
    /// Nothing.
    #[default]
    Unsaid,
    /// It is where it should be.
    Taken,
    /// Why it is not.
    Refused(String),
}

/// What was heard of the push on the way.
#[derive(Debug, Default)]
struct Heard {
    /// The server was told what is to change: whatever fails from here on may have landed.
    sent: bool,
    /// The branch is not where it was planned on.
    moved: bool,
    /// What the server says of the reference.
    status: Status,
    /// What it says to people.
    told: String,
}

/// Pushes from `repository`, into which nothing is written.
pub(super) fn push(repository: &Repository, request: &Request, push: &Push) -> Result<Pushed, RepoError> {
    remote::write_known_hosts(request).map_err(|error| RepoError::Storage { detail: error.to_string() })?;
    let local = |error: Error| classify::local(&error, &request.shown);
    let odb = repository.odb().map_err(local)?;
    // Nobody needs the objects here before they are fetched.
    let _memory = odb.add_new_mempack_backend(i32::MAX).map_err(local)?;
    push.draft.store(repository).map_err(local)?;
    let seen = Rc::new(RefCell::new(Seen::default()));
    let heard = Rc::new(RefCell::new(Heard::default()));
    let outcome = send(repository, request, push, &seen, &heard);
    let heard = heard.borrow();
    Ok(match outcome {
        Ok(()) => match &heard.status {
            Status::Taken => Pushed::Landed,
            Status::Refused(status) => {
                let detail = classify::clean(&format!("{status}: {}", heard.told));
                Pushed::Refused(Refusal::of(status, &heard.told), detail)
            }
            Status::Unsaid => Pushed::Unknown("the server said nothing of the branch".to_owned()),
        },
        Err(error) if heard.moved || error.code() == ErrorCode::NotFastForward => {
            Pushed::Refused(Refusal::Raced, classify::clean(error.message()))
        }
        Err(error) if heard.sent => Pushed::Unknown(classify::clean(error.message())),
        Err(error) => Pushed::NotSent(classify::network(&error, request, &seen.borrow())),
    })
}

/// Connects as for a push, and sends nothing. The server says here whether these credentials may write at all; what its
/// hooks and the protection of a branch say, it says to a push only.
pub(super) fn probe(repository: &Repository, request: &Request) -> Result<(), RepoError> {
    remote::write_known_hosts(request).map_err(|error| RepoError::Storage { detail: error.to_string() })?;
    let seen = Rc::new(RefCell::new(Seen::default()));
    let fail = |error: Error| classify::network(&error, request, &seen.borrow());
    let mut remote = repository.remote_anonymous(&request.url).map_err(fail)?;
    let callbacks = remote::callbacks(request, &seen);
    let proxy = remote::proxy(request);
    remote.connect_auth(Direction::Push, Some(callbacks), Some(proxy)).map_err(fail)?;
    Ok(())
}

fn send(
    repository: &Repository,
    request: &Request,
    push: &Push,
    seen: &Rc<RefCell<Seen>>,
    heard: &Rc<RefCell<Heard>>,
) -> Result<(), Error> {
    let name = format!("refs/heads/{}", push.branch);
    let mut callbacks = remote::callbacks(request, seen);
    let (noted, expected) = (Rc::clone(heard), push.expected);
    callbacks.push_negotiation(move |updates| {
        let mut heard = noted.borrow_mut();
        // What is sent as the old value is the tip that the server has now, and not the one that was planned on: without
        // this a branch that was rewound or deleted meanwhile would be restored.
        let as_planned =
            |old: git2::Oid| expected.map_or_else(|| old.is_zero(), |expected| old == expected.git());
        heard.moved = updates.len() != 1 || !updates.iter().all(|update| as_planned(update.src()));
        heard.sent = !heard.moved;
        if heard.moved {
            return Err(Error::new(ErrorCode::Modified, ErrorClass::Reference, "the branch has moved"));
        }
        Ok(())
    });
    let (noted, wanted) = (Rc::clone(heard), name.clone());
    callbacks.push_update_reference(move |reference, status| {
        if reference == wanted {
            noted.borrow_mut().status = status.map_or(Status::Taken, |why| Status::Refused(why.to_owned()));
        }
        Ok(())
    });
    let noted = Rc::clone(heard);
    callbacks.sideband_progress(move |text| {
        let told = &mut noted.borrow_mut().told;
        if told.len() < MOST_TOLD {
            told.push_str(&String::from_utf8_lossy(text));
        }
        // "No" would cancel a push that may have landed.
        true
    });
    let mut options = PushOptions::new();
    options
        .remote_callbacks(callbacks)
        .proxy_options(remote::proxy(request))
        .follow_redirects(RemoteRedirect::None);
    let mut remote = repository.remote_anonymous(&request.url)?;
    // Without a plus: never by force.
    remote.push(&[format!("{}:{name}", push.draft.id)], Some(&mut options))
}
