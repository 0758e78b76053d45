//! [`SqlService`]: what all sessions share.

use std::{fmt, sync::Arc};

use datafusion::{
    catalog::{CatalogProviderList, SchemaProvider},
    error::DataFusionError,
    execution::{
        FunctionRegistry as _, SessionStateBuilder, context::SessionContext, runtime_env::RuntimeEnvBuilder,
        session_state::SessionState,
    },
    prelude::SessionConfig,
};
use datafusion_pg_catalog::{
    pg_catalog::context::{PgCatalogContextProvider, Role},
    setup_pg_catalog,
};
use model::{Error, MemoryBudget, Metrics, Principal, Result};

use super::{
    Definitions, Session, SqlSettings,
    advisory_locks::AdvisoryLocks,
    boolean_comparison::BooleanComparison,
    catalog::{
        CATALOG, DescribedSchema, DescriptionUse, INFORMATION_SCHEMA, PG_CATALOG, PinnedSchema, Relations, SCHEMA,
        catalog_list,
    },
    counted_rows::CountedRows,
    engine::Engine,
    functions,
    information_schema::InformationSchema,
    memory_pool::BudgetPool,
    pg_catalog::{PgCatalog, SessionPgCatalog},
    window_memory::WindowMemory,
};
use crate::views::Views;

/// The budget of a service that is given none.
const OWN_MEMORY_BYTES: u64 = 512 * 1024 * 1024;

/// Answers SQL over the views and sources of a server.
pub struct SqlService {
    pub(super) relations: Relations,
    pub(super) settings: SqlSettings,
    pub(super) metrics: Metrics,
    /// Knows columns and reads nothing: for preparing statements, and the pattern that sessions are made from.
    pub(super) describing: SessionState,
    pub(super) engine: Engine,
    /// What queries and their answers reserve from.
    pub(super) memory: MemoryBudget,
    pub(super) pg_catalog: Arc<PgCatalog>,
    pub(super) advisory_locks: AdvisoryLocks,
    information_schema: Arc<dyn SchemaProvider>,
}

impl SqlService {
    /// A service over what `views` serves and `definitions` defines, with a budget of memory of its own.
    ///
    /// # Errors
    /// [`Internal`](model::ErrorKind::Internal) when the catalogue tables cannot be set up.
    pub fn new(
        views: Arc<Views>,
        definitions: Arc<dyn Definitions>,
        settings: SqlSettings,
        metrics: Metrics,
    ) -> Result<Arc<Self>> {
        Self::with_memory(MemoryBudget::new(OWN_MEMORY_BYTES), views, definitions, settings, metrics)
    }

    /// The same, with a budget of memory that others share.
    ///
    /// # Errors
    /// [`Internal`](model::ErrorKind::Internal) when the catalogue tables cannot be set up.
    pub fn with_memory(
        memory: MemoryBudget,
        views: Arc<Views>,
        definitions: Arc<dyn Definitions>,
        settings: SqlSettings,
        metrics: Metrics,
    ) -> Result<Arc<Self>> {
        let relations = Relations { views, definitions };
        let failed = |error: DataFusionError| Error::internal("cannot set up SQL").with_source(error);
        let context = describing_context(&relations, &settings, &memory).map_err(failed)?;
        let schema = |name: &str| {
            let schema = context.catalog(CATALOG).and_then(|catalog| catalog.schema(name));
            schema.ok_or_else(|| Error::internal(format!("the schema {name} was not set up")))
        };
        let information_schema = schema(INFORMATION_SCHEMA)?;
        let pg_catalog = Arc::new(PgCatalog::new(schema(PG_CATALOG)?).map_err(failed)?);
        functions::register(&context, &settings, &pg_catalog.names);
        let described = Arc::new(SessionPgCatalog {
            shared: Arc::clone(&pg_catalog),
            variables: Arc::default(),
            settings: settings.clone(),
        });
        let engine = Engine::new(settings.query_threads, settings.planning_timeout, memory.clone())?;
        let public = DescribedSchema { relations: relations.clone(), use_of: DescriptionUse::Preparing };
        let catalogs = catalog_list(Arc::new(public)).map_err(failed)?;
        register_descriptions(&catalogs, &(described as _), &information_schema);
        let describing = SessionStateBuilder::new_from_existing(context.state()).with_catalog_list(catalogs).build();
        Ok(Arc::new(Self {
            relations,
            settings,
            metrics,
            describing,
            engine,
            memory,
            pg_catalog,
            advisory_locks: AdvisoryLocks::default(),
            information_schema,
        }))
    }

    /// A session: the state of one connection, or of one request where a door knows no connections. It runs one
    /// statement at a time.
    pub fn session(self: &Arc<Self>, principal: Principal) -> Session {
        Session::new(Arc::clone(self), principal)
    }

    /// The views that are being served.
    pub fn views(&self) -> &Arc<Views> {
        &self.relations.views
    }

    /// Who carries out definitions.
    pub fn definitions(&self) -> &Arc<dyn Definitions> {
        &self.relations.definitions
    }

    /// The names that `public` knows in a session.
    pub(super) fn session_catalogs(
        &self,
        public: Arc<PinnedSchema>,
        pg_catalog: Arc<SessionPgCatalog>,
    ) -> Arc<dyn CatalogProviderList> {
        // Registering in memory, under names that differ, cannot fail.
        let list = catalog_list(public).unwrap_or_else(|_| Arc::clone(self.describing.catalog_list()));
        register_descriptions(&list, &(pg_catalog as _), &self.information_schema);
        list
    }
}

fn register_descriptions(
    list: &Arc<dyn CatalogProviderList>,
    pg_catalog: &Arc<dyn SchemaProvider>,
    information_schema: &Arc<dyn SchemaProvider>,
) {
    let Some(catalog) = list.catalog(CATALOG) else { return };
    for (name, schema) in [(PG_CATALOG, pg_catalog), (INFORMATION_SCHEMA, information_schema)] {
        if let Err(error) = catalog.register_schema(name, Arc::clone(schema)) {
            tracing::error!(%error, name, "a session has no catalogue tables");
        }
    }
}

impl fmt::Debug for SqlService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlService").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn describing_context(
    relations: &Relations,
    settings: &SqlSettings,
    memory: &MemoryBudget,
) -> Result<SessionContext, DataFusionError> {
    let public = DescribedSchema { relations: relations.clone(), use_of: DescriptionUse::Listing };
    let catalogs = catalog_list(Arc::new(public))?;
    let state = SessionStateBuilder::new()
        .with_config(config(settings))
        .with_runtime_env(Arc::new(RuntimeEnvBuilder::new().with_memory_pool(BudgetPool::new(memory)).build()?))
        .with_catalog_list(Arc::clone(&catalogs))
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(WindowMemory(memory.clone())))
        .with_physical_optimizer_rule(Arc::new(CountedRows))
        .build();
    let mut context = SessionContext::new_with_state(state);
    streaming::register_times(&mut context)?;
    streaming::bound_functions(&mut context)?;
    streaming::register_aggregates(&mut context)?;
    streaming::bound_aggregates(&mut context, memory)?;
    context.register_function_rewrite(Arc::new(BooleanComparison))?;
    context.add_analyzer_rule(Arc::new(streaming::CertainSubqueries));
    context.add_analyzer_rule(Arc::new(streaming::ExistsValue));
    context.add_analyzer_rule(Arc::new(streaming::ExactComparison));
    context.add_analyzer_rule(Arc::new(streaming::ExactArithmetic));
    context.add_analyzer_rule(Arc::new(streaming::FloatEquality));
    setup_pg_catalog(&context, CATALOG, Roles).map_err(|error| *error)?;
    if let Some(catalog) = catalogs.catalog(CATALOG) {
        let information_schema = Arc::new(InformationSchema::new(relations.clone(), Arc::clone(&catalogs)));
        catalog.register_schema(INFORMATION_SCHEMA, information_schema)?;
    }
    Ok(context)
}

fn config(settings: &SqlSettings) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_target_partitions(settings.query_partitions.max(1));
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    // `now()` and `timestamptz` are UTC.
    options.execution.time_zone = Some("UTC".to_owned());
    // Errors carry their place in the text.
    options.sql_parser.collect_spans = true;
    config
}

/// The roles that `pg_roles` lists: whoever comes in is anonymous and may read.
#[derive(Clone, Debug)]
struct Roles;

#[async_trait::async_trait]
impl PgCatalogContextProvider for Roles {
    async fn roles(&self) -> Vec<String> {
        vec![Principal::anonymous().name().to_owned()]
    }

    async fn role(&self, name: &str) -> Option<Role> {
        Some(Role {
            name: name.to_owned(),
            is_superuser: false,
            can_login: true,
            can_create_db: false,
            can_create_role: false,
            can_create_user: false,
            can_replication: false,
            grants: Vec::new(),
            inherited_roles: Vec::new(),
        })
    }
}
