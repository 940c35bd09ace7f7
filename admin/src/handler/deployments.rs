//! `/deployments`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header::LOCATION};
use millrace_cluster::{
    Schema,
    meta::{
        Deployment, HttpVersion, Properties, ProtocolMode, Service,
        object::MASK,
        register::{self, Breaking, RegisterError, Registration, Services, Update, at_uri},
    },
};
use millrace_model::{DeploymentId, codes};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::info;

use super::{
    Answer, Id,
    lambda::{RegisterLambda, function},
    services::ServiceView,
};
use crate::{
    discover::{DISCOVERY_MAX, DiscoverError, DiscoverRequest, Discovered},
    error::ApiError,
    router::{Admin, ApiVersion},
    text::ApiTime,
};

/// Headers sent to an endpoint at most, so that they always fit into its limits.
const HEADERS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum RegisterDeploymentRequest {
    Http(RegisterHttp),
    Lambda(RegisterLambda),
}

#[derive(Deserialize)]
pub(crate) struct RegisterHttp {
    pub(super) uri: String,
    #[serde(default)]
    pub(super) additional_headers: Option<Headers>,
    #[serde(default)]
    pub(super) metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) use_http_11: bool,
    #[serde(default)]
    pub(super) auth: Option<Value>,
    #[serde(default)]
    pub(super) force: Option<bool>,
    #[serde(default)]
    pub(super) breaking: bool,
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// Names in lower case; all of them can be sent.
pub(super) struct Headers(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let given = BTreeMap::<String, String>::deserialize(from)?;
        if given.len() > HEADERS_MAX {
            return Err(D::Error::custom(format!("more than {HEADERS_MAX} headers")));
        }
        let checked = given.into_iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(D::Error::custom)?;
            HeaderValue::from_str(&value).map_err(D::Error::custom)?;
            Ok((name.as_str().to_owned(), value))
        });
        checked.collect::<Result<_, _>>().map(Headers)
    }
}

/// Absolute and normalised, or why not.
fn absolute(uri: &str) -> Answer<String> {
    let parsed: Uri = uri.parse().map_err(|error| ApiError::field("uri", error))?;
    match parsed.scheme_str() {
        _ if parsed.scheme().is_none() || parsed.authority().is_none() => Err(ApiError::field(
            "uri",
            format!("The provided uri {uri} is not absolute, only absolute URIs can be used."),
        )),
        Some("http" | "https") => Ok(parsed.to_string()),
        _ => Err(ApiError::field("uri", format!("the scheme of {uri} must be http or https"))),
    }
}

#[derive(Serialize)]
struct DeploymentView<S> {
    id: String,
    #[serde(flatten)]
    address: AddressView,
    /// Names only: any value may be a secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    additional_headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    created_at: ApiTime,
    min_protocol_version: u32,
    max_protocol_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdk_version: Option<String>,
    services: Vec<S>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AddressView {
    Http {
        uri: String,
        protocol_type: ProtocolMode,
        http_version: String,
    },
    Lambda {
        arn: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        assume_role_arn: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        compression: Option<&'static str>,
    },
}

impl AddressView {
    fn new(deployment: &Deployment) -> Self {
        match &deployment.function {
            None => Self::Http {
                uri: deployment.uri.clone(),
                protocol_type: deployment.mode,
                http_version: deployment.http_version.to_string(),
            },
            Some(function) => Self::Lambda {
                arn: deployment.uri.clone(),
                assume_role_arn: function.assume_role_arn.clone(),
                compression: function.zstd.then_some("Zstd"),
            },
        }
    }
}

#[derive(Serialize)]
struct NameAndRevision {
    name: String,
    revision: u32,
}

impl<S> DeploymentView<S> {
    fn new(deployment: &Deployment, services: Vec<S>) -> Self {
        Self {
            id: deployment.id.to_string(),
            address: AddressView::new(deployment),
            additional_headers: deployment.additional_headers.keys().map(|name| (name.clone(), MASK.into())).collect(),
            metadata: deployment.metadata.clone(),
            created_at: ApiTime(deployment.created_at),
            min_protocol_version: deployment.min_protocol_version,
            max_protocol_version: deployment.max_protocol_version,
            sdk_version: deployment.sdk_version.clone(),
            services,
        }
    }
}

fn service_views(deployment: &Arc<Deployment>, admin: &Admin) -> Vec<ServiceView> {
    let services = deployment.services.iter().filter_map(|service| Service::of(deployment, &service.name));
    services.map(|service| ServiceView::new(&service, &admin.defaults)).collect()
}

fn detailed(deployment: &Arc<Deployment>, admin: &Admin) -> Response {
    Json(DeploymentView::new(deployment, service_views(deployment, admin))).into_response()
}

fn registered(deployment: &Arc<Deployment>, admin: &Admin, status: StatusCode) -> Response {
    let body = json!({
        "id": deployment.id.to_string(),
        "services": service_views(deployment, admin),
        "min_protocol_version": deployment.min_protocol_version,
        "max_protocol_version": deployment.max_protocol_version,
        "sdk_version": deployment.sdk_version,
    });
    (status, [(LOCATION, format!("deployments/{}", deployment.id))], Json(body)).into_response()
}

async fn discover(admin: &Admin, request: DiscoverRequest) -> Answer<Discovered> {
    let uri = request.uri.clone();
    let found = timeout(DISCOVERY_MAX, admin.discoverer.discover(request)).await;
    let late = || DiscoverError {
        code: Some(codes::META0003),
        status: 500,
        message: format!("error when calling '{uri}': no answer in {}s", DISCOVERY_MAX.as_secs()),
    };
    Ok(found.unwrap_or_else(|_| Err(late()))?)
}

pub(crate) async fn register(
    State(admin): State<Admin>,
    Extension(version): Extension<ApiVersion>,
    Json(request): Json<RegisterDeploymentRequest>,
) -> Answer<Response> {
    let (request, function) = match request {
        RegisterDeploymentRequest::Http(request) => (request, None),
        RegisterDeploymentRequest::Lambda(request) => {
            let (request, function) = request.checked()?;
            (request, Some(function))
        }
    };
    if request.auth.is_some_and(|auth| !auth.is_null()) {
        return Err(ApiError::field("auth", "credentials are not offered by this release, use additional_headers"));
    }
    let uri = if function.is_some() { request.uri } else { absolute(&request.uri)? };
    // Up to v2 overwriting was what happened unless told otherwise, and it answered as if it were new.
    let force = request.force.unwrap_or(version == ApiVersion::V2);
    let overwritten = if version == ApiVersion::V2 { StatusCode::CREATED } else { StatusCode::OK };

    let schema = admin.metadata.schema();
    if !force && let Some(stored) = at_uri(&schema, &uri).next() {
        return known(stored, &admin, version);
    }
    let additional_headers = request.additional_headers.map_or_else(BTreeMap::new, |headers| headers.0);
    let discovery = DiscoverRequest {
        uri: uri.clone(),
        function: function.clone(),
        use_http_11: request.use_http_11,
        additional_headers: additional_headers.clone(),
    };
    let found = discover(&admin, discovery).await?;
    let now = admin.env.now();
    let registration = Registration {
        new_id: DeploymentId::from_parts(now.0, admin.env.random_unique()),
        uri: uri.clone(),
        function,
        additional_headers: Properties(additional_headers),
        metadata: request.metadata.unwrap_or_default(),
        endpoint: found.endpoint,
        now,
    };
    let breaking = if request.breaking || force { Breaking::Allowed } else { Breaking::Refused };
    let decided = if request.dry_run {
        register::register(&admin.metadata.schema(), &registration, force, breaking)?
            .map(|planned| (planned.deployment, planned.new))
    } else {
        let decide = move |schema: &Schema| {
            Ok::<_, RegisterError>(match register::register(schema, &registration, force, breaking)? {
                Some(planned) => (planned.change, Some((planned.deployment, planned.new))),
                None => (Default::default(), None),
            })
        };
        admin.metadata.change(decide).await??
    };
    match decided {
        Some((deployment, new)) => {
            if !request.dry_run {
                info!(deployment_id = %deployment.id, new, "deployment registered");
            }
            Ok(registered(&deployment, &admin, if new { StatusCode::CREATED } else { overwritten }))
        }
        // Somebody else registered it meanwhile.
        None => {
            let schema = admin.metadata.schema();
            let stored = at_uri(&schema, &uri).next();
            let stored = stored.ok_or(ApiError::Empty(StatusCode::SERVICE_UNAVAILABLE))?;
            known(stored, &admin, version)
        }
    }
}

/// The address is registered already. The published client takes that for done, the documentation for an error.
fn known(stored: &Arc<Deployment>, admin: &Admin, version: ApiVersion) -> Answer<Response> {
    match version {
        ApiVersion::V3 | ApiVersion::V4 => Ok(registered(stored, admin, StatusCode::OK)),
        ApiVersion::Documented | ApiVersion::V2 => {
            Err(RegisterError::Known { id: stored.id, uri: stored.uri.clone() }.into())
        }
    }
}

pub(crate) async fn list(State(admin): State<Admin>) -> Json<Value> {
    let schema = admin.metadata.schema();
    let deployments = schema.deployments().map(|deployment| {
        let services = deployment.services.iter();
        let named = services.map(|service| NameAndRevision { name: service.name.clone(), revision: service.revision });
        DeploymentView::new(deployment, named.collect())
    });
    Json(json!({"deployments": deployments.collect::<Vec<_>>()}))
}

#[derive(Deserialize)]
pub(crate) struct OnePath {
    deployment: Id<DeploymentId>,
}

fn no_deployment(id: DeploymentId) -> ApiError {
    ApiError::not_found(format!("The requested deployment '{id}' does not exist"))
}

pub(crate) async fn one(State(admin): State<Admin>, Path(path): Path<OnePath>) -> Answer<Response> {
    let schema = admin.metadata.schema();
    let deployment = schema.deployment(path.deployment.0).ok_or_else(|| no_deployment(path.deployment.0))?;
    Ok(detailed(deployment, &admin))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct UpdateRequest {
    uri: Option<String>,
    arn: Option<String>,
    assume_role_arn: Option<String>,
    additional_headers: Option<Headers>,
    use_http_11: Option<bool>,
    overwrite: bool,
    dry_run: bool,
}

pub(crate) async fn update(
    State(admin): State<Admin>,
    Path(path): Path<OnePath>,
    Json(request): Json<UpdateRequest>,
) -> Answer<Response> {
    let services = if request.overwrite { Services::Overwrite } else { Services::Keep };
    update_in_place(&admin, path.deployment.0, request, services).await
}

async fn update_in_place(
    admin: &Admin,
    id: DeploymentId,
    request: UpdateRequest,
    services: Services,
) -> Answer<Response> {
    let schema = admin.metadata.schema();
    let current = schema.deployment(id).ok_or(RegisterError::NotFound(id))?;
    let (uri, function) = match (request.uri, request.arn) {
        (None, None) if request.assume_role_arn.is_some() && current.function.is_some() => {
            (Some(current.uri.clone()), Some(function(&current.uri, request.assume_role_arn)?))
        }
        (None, None) => (None, None),
        (Some(uri), None) => (Some(absolute(&uri)?), None),
        (None, Some(arn)) => (Some(arn.clone()), Some(function(&arn, request.assume_role_arn)?)),
        (Some(_), Some(_)) => return Err(ApiError::field("arn", "a deployment has either a uri or an arn")),
    };
    let additional_headers =
        request.additional_headers.map(|headers| Properties(headers.0).unmasked(&current.additional_headers));
    let discovery = DiscoverRequest {
        uri: uri.clone().unwrap_or_else(|| current.uri.clone()),
        function: if uri.is_some() { function.clone() } else { current.function.clone() },
        use_http_11: request.use_http_11.unwrap_or(current.http_version == HttpVersion::Http11),
        additional_headers: additional_headers.as_ref().unwrap_or(&current.additional_headers).0.clone(),
    };
    let found = discover(admin, discovery).await?;
    let update = Update { uri, function, additional_headers, services };
    let deployment = if request.dry_run {
        register::update(&admin.metadata.schema(), id, &update, &found.endpoint)?.deployment
    } else {
        let decide = move |schema: &Schema| {
            let planned = register::update(schema, id, &update, &found.endpoint)?;
            Ok::<_, RegisterError>((planned.change, planned.deployment))
        };
        let deployment = admin.metadata.change(decide).await??;
        info!(deployment_id = %id, uri = %deployment.uri, "deployment updated in place");
        deployment
    };
    Ok(detailed(&deployment, admin))
}

/// The documentation's way: what is found replaces what is registered, if it is similar enough.
pub(crate) async fn put(
    State(admin): State<Admin>,
    Extension(version): Extension<ApiVersion>,
    Path(path): Path<OnePath>,
    Json(request): Json<UpdateRequest>,
) -> Answer<Response> {
    match version {
        ApiVersion::Documented | ApiVersion::V2 => {
            update_in_place(&admin, path.deployment.0, request, Services::Alike).await
        }
        ApiVersion::V3 | ApiVersion::V4 => Err(ApiError::json(
            StatusCode::METHOD_NOT_ALLOWED,
            codes::ADM0001,
            "PUT deployment is deprecated, use PATCH instead",
        )),
    }
}

#[derive(Deserialize)]
pub(crate) struct RemoveQuery {
    force: Option<bool>,
}

/// Without force only a deployment that nobody needs goes: it serves no latest revision and no invocation is pinned.
pub(crate) async fn remove(
    State(admin): State<Admin>,
    Path(path): Path<OnePath>,
    Query(query): Query<RemoveQuery>,
) -> Answer<StatusCode> {
    let id = path.deployment.0;
    if query.force != Some(true) {
        let schema = admin.metadata.schema();
        schema.deployment(id).ok_or(RegisterError::NotFound(id))?;
        let latest = schema.services().any(|service| service.deployment.id == id);
        if latest || admin.engine.pinned(id, 1).await? > 0 {
            return Err(ApiError::Empty(StatusCode::NOT_IMPLEMENTED));
        }
    }
    admin.metadata.change(move |schema| Ok::<_, RegisterError>((register::remove(schema, id)?, ()))).await??;
    info!(deployment_id = %id, "deployment removed");
    Ok(StatusCode::ACCEPTED)
}
