//! What a fake account holds, and its JSON: every field of Heroku's schema, and some that only the live API adds.

use serde_json::{Value, json};
use uuid::Uuid;

/// The time of everything that nobody gave another time.
const THEN: &str = "2026-05-01T09:00:00Z";

/// An account with its apps.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The apps.
    pub apps: Vec<FakeApp>,
    ids: u128,
}

/// An app.
#[derive(Clone, Debug)]
pub struct FakeApp {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// `cedar` or `fir`; `None` leaves the field out, as the older schema does.
    pub generation: Option<&'static str>,
    /// As in `heroku-24`.
    pub stack: &'static str,
    /// In maintenance mode.
    pub maintenance: bool,
    /// Its team.
    pub team: Option<&'static str>,
    /// When its newest release became current.
    pub released_at: Option<String>,
    /// Its process types.
    pub formation: Vec<FakeProcess>,
    /// Its dynos.
    pub dynos: Vec<FakeDyno>,
    /// Its add-ons.
    pub addons: Vec<FakeAddOn>,
    /// Its releases, oldest first.
    pub releases: Vec<FakeRelease>,
    /// Its log drains.
    pub drains: Vec<FakeDrain>,
    /// Features that are on.
    pub features: Vec<String>,
    /// Values of config vars.
    pub vars: Vec<(&'static str, String)>,
}

/// A process type.
#[derive(Clone, Debug)]
pub struct FakeProcess {
    /// As in `web`.
    pub kind: &'static str,
    /// Dynos.
    pub quantity: u32,
    /// As in `Standard-1X`.
    pub size: &'static str,
    /// What it runs; may hold a secret.
    pub command: &'static str,
}

/// A dyno.
#[derive(Clone, Debug)]
pub struct FakeDyno {
    /// Its id.
    pub id: Uuid,
    /// As in `web.1`.
    pub name: String,
    /// As in `up`.
    pub state: &'static str,
    /// As in `Standard-1X`.
    pub size: &'static str,
    /// The version of the release it runs.
    pub release: u32,
}

/// An add-on.
#[derive(Clone, Debug)]
pub struct FakeAddOn {
    /// Its id.
    pub id: Uuid,
    /// As in `postgresql-flat-1234`.
    pub name: String,
    /// As in `heroku-postgresql`.
    pub service: &'static str,
    /// As in `heroku-postgresql:standard-0`.
    pub plan: &'static str,
    /// NAMES of config vars.
    pub config_vars: Vec<&'static str>,
}

/// A release.
#[derive(Clone, Debug)]
pub struct FakeRelease {
    /// Its id.
    pub id: Uuid,
    /// `124` of `v124`.
    pub version: u32,
    /// Its slug, and the commit of that.
    pub slug: Option<(Uuid, String)>,
    /// Its cause.
    pub description: String,
    /// Who made it.
    pub author: String,
    /// When.
    pub created_at: String,
    /// `None` as on very old ones.
    pub status: Option<&'static str>,
}

/// A log drain.
#[derive(Clone, Debug)]
pub struct FakeDrain {
    /// Its id.
    pub id: Uuid,
    /// Its Logplex token.
    pub token: String,
    /// Where it delivers to.
    pub url: String,
    /// The add-on that made it.
    pub addon: Option<String>,
}

impl Account {
    /// A new id: the account counts.
    pub fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_0000_0000_0000 + self.ids)
    }

    /// Adds an app on Cedar with one web dyno.
    pub fn create(&mut self, name: &str) -> Uuid {
        let (id, dyno) = (self.id(), self.id());
        self.apps.push(FakeApp {
            id,
            name: name.to_owned(),
            generation: Some("cedar"),
            stack: "heroku-24",
            maintenance: false,
            team: None,
            released_at: None,
            formation: vec![FakeProcess {
                kind: "web",
                quantity: 1,
                size: "Standard-1X",
                command: "bin/web --key canary-command-secret",
            }],
            dynos: vec![FakeDyno { id: dyno, name: "web.1".to_owned(), state: "up", size: "Standard-1X", release: 1 }],
            addons: Vec::new(),
            releases: Vec::new(),
            drains: Vec::new(),
            features: Vec::new(),
            vars: Vec::new(),
        });
        id
    }

    /// The app of that name or id.
    ///
    /// # Panics
    /// When there is none.
    pub fn app(&mut self, name: &str) -> &mut FakeApp {
        self.find(name).unwrap_or_else(|| panic!("the fake account has no app {name}"))
    }

    pub(super) fn find(&mut self, identity: &str) -> Option<&mut FakeApp> {
        self.apps.iter_mut().find(|app| app.name == identity || app.id.to_string() == identity)
    }

    /// Adds an add-on.
    pub fn add_on(&mut self, app: &str, service: &'static str, plan: &'static str, var: &'static str) -> Uuid {
        let id = self.id();
        let name = format!("{}-flat-{}", service.trim_start_matches("heroku-"), id.as_u128() % 10_000);
        self.app(app).addons.push(FakeAddOn { id, name, service, plan, config_vars: vec![var] });
        id
    }

    /// Makes a release: with a commit one of new code, without one of the same code.
    pub fn release(&mut self, app: &str, description: &str, author: &str, at: &str, commit: Option<&str>) -> u32 {
        let (id, slug) = (self.id(), self.id());
        let app = self.app(app);
        let before = app.releases.last();
        let version = before.map_or(1, |release| release.version + 1);
        let slug = match commit {
            Some(commit) => Some((slug, commit.to_owned())),
            None => before.and_then(|release| release.slug.clone()),
        };
        app.released_at = Some(at.to_owned());
        app.releases.push(FakeRelease {
            id,
            version,
            slug,
            description: description.to_owned(),
            author: author.to_owned(),
            created_at: at.to_owned(),
            status: Some("succeeded"),
        });
        version
    }

    /// Adds a log drain, as `heroku drains:add` does. Returns its token.
    pub fn add_drain(&mut self, app: &str, url: &str) -> String {
        let (id, token) = (self.id(), self.id());
        let token = format!("d.{token}");
        self.app(app).drains.push(FakeDrain { id, token: token.clone(), url: url.to_owned(), addon: None });
        token
    }
}

impl FakeApp {
    fn reference(&self) -> Value {
        json!({ "id": self.id, "name": self.name })
    }

    pub(super) fn json(&self) -> Value {
        let team = self.team.map(|team| json!({ "id": Uuid::from_u128(7), "name": team }));
        let stack = json!({ "id": Uuid::from_u128(9), "name": self.stack });
        let mut app = json!({
            "id": self.id, "name": self.name, "maintenance": self.maintenance, "released_at": self.released_at,
            "acm": true, "archived_at": null, "buildpack_provided_description": "Rust", "build_stack": stack, "stack": stack,
            "created_at": THEN, "updated_at": THEN, "git_url": format!("https://git.heroku.com/{}.git", self.name),
            "internal_routing": null, "owner": { "id": Uuid::from_u128(5), "email": "owner@example.com" },
            "organization": team, "team": team, "region": { "id": Uuid::from_u128(6), "name": "eu" }, "repo_size": 0,
            "slug_size": 12_000_000, "space": null, "web_url": format!("https://{}.herokuapp.com/", self.name),
            "base_image_name": "something the schema does not know",
        });
        if let (Some(generation), Some(app)) = (self.generation, app.as_object_mut()) {
            app.insert("generation".to_owned(), json!({ "id": Uuid::from_u128(8), "name": generation }));
        }
        app
    }

    pub(super) fn formation_json(&self) -> Vec<(String, Value)> {
        let one = |(i, process): (usize, &FakeProcess)| {
            let id = Uuid::from_u128(self.id.as_u128() ^ ((i as u128 + 1) << 64));
            let json = json!({
                "app": self.reference(), "command": process.command, "created_at": THEN, "updated_at": THEN, "id": id,
                "quantity": process.quantity, "size": process.size, "type": process.kind,
            });
            (id.to_string(), json)
        };
        self.formation.iter().enumerate().map(one).collect()
    }

    pub(super) fn dynos_json(&self) -> Vec<(String, Value)> {
        let one = |dyno: &FakeDyno| {
            let kind = dyno.name.split(['.', '-']).next();
            let json = json!({
                "attach_url": null, "command": "bin/web --key canary-command-secret", "created_at": THEN, "updated_at": THEN,
                "id": dyno.id, "name": dyno.name, "size": dyno.size, "state": dyno.state, "type": kind, "app": self.reference(),
                "release": { "id": Uuid::from_u128(3), "version": dyno.release },
            });
            (dyno.id.to_string(), json)
        };
        self.dynos.iter().map(one).collect()
    }

    pub(super) fn addons_json(&self) -> Vec<(String, Value)> {
        let one = |addon: &FakeAddOn| {
            let json = json!({
                "actions": [], "addon_service": { "id": Uuid::from_u128(11), "name": addon.service },
                "billing_entity": { "id": self.id, "name": self.name, "type": "app" }, "app": self.reference(),
                "billed_price": { "cents": 5_000, "contract": false, "unit": "month" }, "config_vars": addon.config_vars,
                "created_at": THEN, "updated_at": THEN, "id": addon.id, "name": addon.name,
                "plan": { "id": Uuid::from_u128(12), "name": addon.plan }, "provider_id": "ext-1", "state": "provisioned",
                "web_url": null,
            });
            (addon.id.to_string(), json)
        };
        self.addons.iter().map(one).collect()
    }

    pub(super) fn releases_json(&self) -> Vec<(String, Value)> {
        let newest = self.releases.iter().map(|release| release.version).max();
        let one = |release: &FakeRelease| {
            let slug = release.slug.as_ref().map(|(id, _)| json!({ "id": id }));
            let json = json!({
                "addon_plan_names": [], "app": self.reference(), "created_at": release.created_at,
                "updated_at": release.created_at, "description": release.description, "id": release.id, "slug": slug,
                "status": release.status, "user": { "id": Uuid::from_u128(5), "email": release.author },
                "version": release.version, "current": Some(release.version) == newest, "output_stream_url": null,
                "eligible_for_rollback": true,
            });
            (format!("{:010}", release.version), json)
        };
        self.releases.iter().map(one).collect()
    }

    pub(super) fn slug_json(&self, slug: &str) -> Option<Value> {
        let slugs = self.releases.iter().filter_map(|release| release.slug.as_ref());
        let (id, commit) = slugs.into_iter().find(|(id, _)| id.to_string() == slug)?;
        Some(json!({
            "blob": { "method": "get", "url": "https://slugs.example.com/canary-signed-url" }, "checksum": null,
            "buildpack_provided_description": "Rust", "commit": commit, "commit_description": null, "created_at": THEN,
            "updated_at": THEN, "id": id, "process_types": { "web": "bin/web --key canary-command-secret" }, "size": 1,
            "stack": { "id": Uuid::from_u128(9), "name": self.stack },
        }))
    }

    pub(super) fn feature_json(&self, name: &str) -> Value {
        json!({
            "created_at": THEN, "updated_at": THEN, "description": "a feature", "doc_url": "https://devcenter.heroku.com/x",
            "enabled": self.features.iter().any(|on| on == name), "id": Uuid::from_u128(13), "name": name, "state": "general",
            "display_name": "A feature", "feedback_email": "feedback@example.com",
        })
    }
}

impl FakeDrain {
    pub(super) fn json(&self) -> Value {
        let addon = self.addon.as_ref().map(|name| json!({ "id": Uuid::from_u128(14), "name": name }));
        json!({
            "addon": addon, "created_at": THEN, "updated_at": THEN, "id": self.id, "token": self.token, "url": self.url,
        })
    }
}
