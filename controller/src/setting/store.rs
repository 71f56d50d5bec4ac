use engine::api::Job;
use engine::db::Tx;
use engine::query::Args;
use engine::setting::AnySetting;
use engine::{Any, Id, Result, Stamp, args};

const REMEMBER: &str = "INSERT INTO setting_change (uuid, category, name, resource_uuid, old_value, new_value, \
     account_uuid, user_uuid, create_date) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const CHANGED: &str = "SELECT category, name FROM setting ORDER BY category, name";

/// Whose call changes settings.
#[derive(Clone, Copy)]
pub(super) struct Author {
    account: Id<Any>,
    user: Option<Id<Any>>,
}

/// What was changed.
pub(super) struct Change<'a> {
    pub setting: &'a AnySetting,
    pub resource: Option<Id<Any>>,
    pub old: Option<&'a str>,
    pub new: Option<&'a str>,
}

impl Author {
    pub fn of(job: &Job) -> Author {
        Author { account: job.account(), user: job.user() }
    }

    /// Remembers a change that was one.
    pub async fn remember(self, tx: &mut Tx, change: Change<'_>) -> Result<()> {
        if change.old == change.new {
            return Ok(());
        }
        let mut row = args![Id::<Any>::random(), change.setting.category, change.setting.name];
        row.extend(args![change.resource, change.old, change.new, self.account, self.user, Stamp::now()]);
        tx.exec(REMEMBER, row).await.map(|_| ())
    }
}

/// The settings that were ever changed.
pub(super) async fn changed(tx: &mut Tx) -> Result<Vec<(String, String)>> {
    tx.all(CHANGED, args![]).await
}

/// Every setting with its value, as something to select from. Texts are bound, never written out.
pub(super) fn rows(settings: &[AnySetting], args: &mut Args) -> String {
    let mut sorted = settings.to_vec();
    sorted.sort_by_key(|setting| (setting.category, setting.name));
    let mut lines = Vec::with_capacity(sorted.len());
    for (setting, id) in sorted.iter().zip(1..) {
        let texts = [setting.category, setting.name, setting.help, setting.default];
        let marks: Vec<_> = texts.into_iter().map(|text| args.mark(text)).collect();
        lines.push(format!("({id}, {})", marks.join(", ")));
    }
    format!(
        "(SELECT CAST(k.column1 AS BIGINT) AS id, k.column2 AS category, k.column3 AS name, k.column4 AS description, \
         k.column5 AS default_value, coalesce(s.value, k.column5) AS value FROM (VALUES {}) k \
         LEFT JOIN setting s ON s.category = k.column2 AND s.name = k.column3)",
        lines.join(", ")
    )
}
