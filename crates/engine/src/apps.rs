//! The apps in memory: which drain token is whose, what each app counts, and its newest lines. Owns no identity: that is
//! the store's; this is a directory that is replaced whole when an app is adopted, renamed or configured.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use dynowatch_domain::matcher::AppRules;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::apps::{AppOrigin, DrainToken};
use hashbrown::HashMap;

use crate::metrics::Recorder;
use crate::ring::Ring;
use crate::rules::RuleBook;
use crate::totals::AppTotals;

/// An app, as one configuration sees it.
pub struct App {
    /// Its id.
    pub id: AppId,
    /// Its name.
    pub name: String,
    /// Where it was named.
    pub origin: AppOrigin,
    /// Since when it is known.
    pub known_since: Timestamp,
    /// A host seen in its router lines, as a hint for naming an adopted app.
    pub host_hint: Option<String>,
    /// The rules in force for it, and which of them are for it. They belong together: indexes of one mean nothing in
    /// another.
    pub(crate) book: Arc<RuleBook>,
    pub(crate) rules: AppRules,
    /// What lives on when the directory is replaced.
    pub(crate) live: Arc<Live>,
}

/// What one app accumulates in memory.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) totals: Mutex<AppTotals>,
    pub(crate) ring: Mutex<Ring>,
    pub(crate) recorder: Mutex<Recorder>,
}

/// The data behind a lock, even if a holder panicked: counters and rings are sound after every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All apps, for one moment.
#[derive(Default)]
pub struct Directory {
    by_token: HashMap<String, Arc<App>>,
    /// Tokens whose drain's URL names an app, with that name.
    by_url: HashMap<String, (String, Arc<App>)>,
    by_name: HashMap<String, Arc<App>>,
    by_id: HashMap<AppId, Arc<App>>,
}

impl Directory {
    /// The app that a drain token belongs to.
    #[must_use]
    pub fn by_token(&self, token: &str) -> Option<&Arc<App>> {
        self.by_token.get(token)
    }

    /// The app of that name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<App>> {
        self.by_name.get(name)
    }

    /// The app of a drain whose URL names it. The URL keeps the name that the app had when the drain was made: where the
    /// Heroku account has told whose drain a token is, that goes first.
    #[must_use]
    pub fn by_url(&self, name: &str, token: Option<&str>) -> Option<&Arc<App>> {
        let told = token.and_then(|token| self.by_url.get(token)).filter(|(url_name, _)| url_name == name);
        told.map(|(_, app)| app).or_else(|| self.by_name(name))
    }

    /// The app of that id.
    #[must_use]
    pub fn by_id(&self, id: AppId) -> Option<&Arc<App>> {
        self.by_id.get(&id)
    }

    /// Every app, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.by_id.values()
    }

    /// How many apps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// The directory that requests read and changes replace.
#[derive(Default)]
pub(crate) struct Apps {
    current: ArcSwap<Directory>,
    /// What the current directory was made from.
    made_from: Mutex<Option<MadeFrom>>,
}

type MadeFrom = (Vec<dynowatch_store::apps::App>, Vec<DrainToken>, Arc<RuleBook>);

impl Apps {
    pub(crate) fn load_full(&self) -> Arc<Directory> {
        self.current.load_full()
    }

    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Directory>> {
        self.current.load()
    }

    /// Replaces the directory, unless it would be the same. What an app has accumulated stays with its id.
    pub(crate) fn replace(
        &self,
        mut rows: Vec<dynowatch_store::apps::App>,
        tokens: Vec<DrainToken>,
        book: &Arc<RuleBook>,
    ) {
        rows.iter_mut().for_each(|row| row.last_line_at = None);
        let mut made_from = lock(&self.made_from);
        if made_from.as_ref().is_some_and(|(r, t, b)| *r == rows && *t == tokens && Arc::ptr_eq(b, book)) {
            return;
        }
        *made_from = Some((rows.clone(), tokens.clone(), Arc::clone(book)));
        let before = self.current.load();
        let mut next = Directory::default();
        for row in rows {
            let live = before.by_id(row.id).map_or_else(Arc::default, |app| Arc::clone(&app.live));
            let rules = book.matcher.for_app(&row.name);
            let app = Arc::new(App {
                id: row.id,
                name: row.name,
                origin: row.origin,
                known_since: row.created_at,
                host_hint: row.host_hint,
                book: Arc::clone(book),
                rules,
                live,
            });
            next.by_name.insert(app.name.clone(), Arc::clone(&app));
            next.by_id.insert(app.id, app);
        }
        for DrainToken { token, app, url_name, .. } in tokens {
            if let Some(app) = next.by_id.get(&app) {
                if let Some(name) = url_name {
                    next.by_url.insert(token.clone(), (name, Arc::clone(app)));
                }
                next.by_token.insert(token, Arc::clone(app));
            }
        }
        self.current.store(Arc::new(next));
    }
}
